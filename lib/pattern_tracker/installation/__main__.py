"""`python -m pattern_tracker.installation install | uninstall`, started by `install.sh`."""

from __future__ import annotations

import sys

from pattern_tracker.installation.command import main

if __name__ == "__main__":
    sys.exit(main())
