"""Everything that installing and uninstalling does once Python runs; `install.sh` starts it.

Each step is idempotent and says in one line what it did.  The paths it writes
are absolute, because what it installs is later started by hooks that must not
trust their environment.
"""
