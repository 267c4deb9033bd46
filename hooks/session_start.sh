#!/bin/sh
# session_start.sh STATE_DIR: captures the payload as capture.sh does, then sees to it that the
# daemon runs, by starting STATE_DIR/launch-daemon, which the installer writes. As silent and as
# harmless as capture.sh; at SessionStart anything on stdout would be read by the model.

"${0%/*}/capture.sh" "${1-}"
"${0%/*}/check_cap.sh" "${1-}" </dev/null >/dev/null 2>&1 &

case ${1-} in /*) ;; *) exit 0 ;; esac
[ -e "$1/disabled" ] && exit 0
case ${PATTERN_TRACKING_ENABLED-} in
  0 | [Nn][Oo] | [Oo][Ff][Ff] | [Ff][Aa][Ll][Ss][Ee]) exit 0 ;;
esac
[ -f "$1/launch-daemon" ] && [ -x "$1/launch-daemon" ] || exit 0

# A cloned project's settings can set any variable, so the daemon inherits none but these. All
# three streams are redirected: Claude Code waits until every copy of stdout and stderr is closed.
# The inner shell, because env would take a path with a = in it for a variable.
# shellcheck disable=SC2016 # it is the inner shell that expands
/usr/bin/env -i ${HOME+"HOME=$HOME"} PATH=/usr/bin:/bin ${LANG+"LANG=$LANG"} \
  /bin/sh -c 'cd / && exec "$0"' "$1/launch-daemon" </dev/null >/dev/null 2>&1 &
exit 0
