#!/bin/sh
# capture.sh STATE_DIR: keeps the hook payload on stdin as STATE_DIR/spool/SESSION.PID.json.
#
# Registered so that a subshell of the shell that Claude Code has started reads it, which spares
# starting a second one: (set -- 'STATE_DIR'; . '.../capture.sh') 2>/dev/null || :
#
# Never hurts Claude Code: whatever happens it is silent, exits 0 (exit 2 would block the tool),
# waits for nobody and looks at nothing that it copies. What it cannot keep it counts, one byte
# per payload, in STATE_DIR/turned-away. This swallowing of errors is for hooks only.
#
# Fast: shell builtins and one cat. Redirections stand on groups and ordinary commands only,
# because one that fails on a special builtin (exec, :) ends dash with status 2.

case ${1-} in /*) ;; *) exit 0 ;; esac # a relative path or a quoted ~ would end in the project
[ -e "$1/disabled" ] && exit 0
case ${PATTERN_TRACKING_ENABLED-} in
  0 | [Nn][Oo] | [Oo][Ff][Ff] | [Ff][Aa][Ll][Ss][Ee]) exit 0 ;;
esac
[ -t 0 ] && exit 0 # a person at a terminal: there is no payload

turn_away() { # a file that exists, with room in its block, can be appended to on a full disk
  [ -f "$1/turned-away" ] && printf . >>"$1/turned-away"
  exit 0
}
[ -e "$1/full" ] && turn_away "$1"

# Fixed places first: faster than a search, and a project's settings can set any PATH.
# PATH is for systems that have neither place (NixOS).
if [ -x /bin/cat ]; then
  bin=/bin/
elif [ -x /usr/bin/cat ]; then
  bin=/usr/bin/
else
  bin=''
  command -v cat >/dev/null || turn_away "$1"
fi

export LC_ALL=C # A-Z means ASCII, lengths are bytes, and cat starts without loading a locale
session=${CLAUDE_CODE_SESSION_ID-}
case $session in '' | -* | *[!A-Za-z0-9_-]*) session=nosession ;; esac
[ ${#session} -le 64 ] || session=nosession

umask 077
set -C # create, never overwrite: pids come round again
file=$1/spool/$session.$$.json opened='' retried='' count=0
while :; do
  { opened=yes && "${bin}cat"; } >"$file"
  rc=$?
  [ "$opened" ] && break
  if [ -e "$file" ]; then
    count=$((count + 1)) file=$1/spool/$session.$$.$count.json
  elif [ -z "$retried" ]; then # no folder yet, or the taken name was drained a moment ago
    retried=yes
    [ -d "$1/spool" ] || "${bin}mkdir" "$1/spool"
  else
    turn_away "$1"
  fi
done

# A cat that was killed (status above 128) may have finished: the drainer judges what it left.
# The order of the tests matters: a whole file may be drained, and gone, at any moment.
if [ "$rc" -eq 0 ] || [ "$rc" -gt 128 ]; then
  [ -s "$file" ] && exit 0
  [ -e "$file" ] || exit 0
fi
"${bin}rm" -f "$file" # deliberate: torn by a full disk or empty, and known to be so
turn_away "$1"
