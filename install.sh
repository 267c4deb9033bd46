#!/bin/sh
# Installs pattern-tracker for the user who runs it, in a private Python environment.
# Run it again to upgrade, or to repair an installation that was interrupted.
set -eu
# Whoever can write what is installed here can run it as this user.
umask 077

usage() {
  cat <<'USAGE'
usage: ./install.sh [--no-daemon] [--dry-run]
       ./install.sh --uninstall [--dry-run]

  --no-daemon   install everything, but do not start the daemon
  --dry-run     say what would be done; change nothing
  --uninstall   take everything back; keeps configuration and undelivered events
  --help        this text

INTELLIGENCE_SERVICE_URL, INTELLIGENCE_API_TOKEN and PATTERN_CACHE_DIR, where set, are written to
the configuration file, because the daemon does not see this shell's environment.
USAGE
}

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

say() { printf '%10s  %s\n' "$1" "$2"; }

command=install no_daemon='' dry_run=''
for option in "$@"; do
  case $option in
    --uninstall) command=uninstall ;;
    --no-daemon) no_daemon=--no-daemon ;;
    --dry-run) dry_run=--dry-run ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      printf 'install.sh: unknown option %s\n' "$option" >&2
      usage >&2
      exit 2
      ;;
  esac
done

# CDPATH would make cd choose another place; the others would make Python or pip look, or install,
# outside the private environment.
unset CDPATH PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX
checkout=$(cd "$(dirname "$0")" && pwd -P)
case ${HOME-} in /*) ;; *) fail 'HOME is not set to an absolute path. Set it and run this again.' ;; esac

# The same place that platformdirs gives to the programs.
case $(uname -s) in
  Darwin) data=$HOME/Library/Application\ Support/pattern-tracker ;;
  *) data=$HOME/.local/share/pattern-tracker ;;
esac
case ${XDG_DATA_HOME-} in /*) data=$XDG_DATA_HOME/pattern-tracker ;; esac
# pip writes the path between double quotes into the programs, for a shell to read.
case $data in *[\"\$\`\\]*)
  fail "a path with \", \$, \` or \\ in it cannot hold the programs: $data. Set XDG_DATA_HOME to another place and run this again."
  ;;
esac
venv=$data/venv
# Written last: without it an installation was interrupted.
mark=$venv/installed-from

# Running it is the only proof: a pyenv shim exists for versions that are not there.
is_new_enough() {
  "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
    if is_new_enough "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail 'needs Python 3.11 or newer. Install it (Debian, Ubuntu: sudo apt install python3 python3-venv; macOS: brew install python) and run this again.'
}

require_venv() {
  "$1" -I -c 'import ensurepip, venv' >/dev/null 2>&1 && return
  version=$("$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  fail "$1 cannot make virtual environments. Install that part (Debian, Ubuntu: sudo apt install python$version-venv) and run this again."
}

# Changes whenever a file that gets installed changes.
fingerprint() {
  (cd "$checkout" && find pyproject.toml requirements.lock README.md LICENSE lib daemon hooks -type f \
    ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort | cksum)
}

is_installed() {
  [ -f "$mark" ] && "$venv/bin/python" -I -c 'import pattern_tracker' >/dev/null 2>&1
}

# What Python does; from the private environment or, where there is none, from the checkout.
run_steps() {
  set -- "$command" --data-dir "$data" ${no_daemon:+"$no_daemon"} ${dry_run:+"$dry_run"}
  if is_installed; then
    "$venv/bin/python" -I -m pattern_tracker.installation "$@"
    return
  fi
  python=$(find_python)
  # -B leaves no byte code in the checkout. pip brings its own copy of platformdirs.
  "$python" -I -B -c '
import sys
checkout = sys.argv.pop(1)
sys.path[:0] = [checkout + "/lib", checkout + "/daemon"]
try:
    import platformdirs
except ImportError:
    try:
        from pip._vendor import platformdirs
    except ImportError:
        sys.exit("install.sh: cannot look further without pip or platformdirs. Install python3-pip.")
    sys.modules["platformdirs"] = platformdirs
from pattern_tracker.installation.command import main
sys.exit(main())
' "$checkout" "$@"
}

pip_install() {
  "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-input "$@" \
    </dev/null ||
    fail 'pip could not install the programs. See above; once that is repaired, run this again.'
}

install_package() {
  found=$(fingerprint)
  if is_installed && [ "$(cat "$mark")" = "$found" ]; then
    say unchanged "install the programs in $venv"
    return
  fi
  if [ "$dry_run" ]; then
    say would "install the programs in $venv"
    return
  fi
  python=$(find_python)
  require_venv "$python"
  # A running daemon must not see its own files change.
  if [ -x "$venv/bin/pattern-daemon" ]; then
    "$venv/bin/pattern-daemon" stop >/dev/null 2>&1 || :
  fi
  mkdir -p "$data"
  if is_installed; then
    rm -f "$mark"
  else
    "$python" -I -m venv --clear "$venv" ||
      fail "cannot make a virtual environment in $venv. See above, and run this again."
  fi
  # What the tests ran with, to the byte; then ours.
  pip_install --require-hashes --requirement "$checkout/requirements.lock"
  pip_install --no-deps "$checkout"
  printf '%s\n' "$found" >"$mark"
  say 'done' "install the programs in $venv"
}

if [ "$command" = install ]; then
  install_package
fi
run_steps
