"""`python -m pattern_daemon`."""

from __future__ import annotations

import sys

from pattern_daemon.cli import main

if __name__ == "__main__":
    sys.exit(main())
