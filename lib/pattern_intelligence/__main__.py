"""`python -m pattern_intelligence`."""

from __future__ import annotations

import sys

from pattern_intelligence.cli import main

if __name__ == "__main__":
    sys.exit(main())
