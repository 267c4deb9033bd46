"""The checkout under test, and copies of what of it an installation needs."""

from __future__ import annotations

import shutil
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SHIPPED = (
    "install.sh",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "LICENSE",
    "lib",
    "daemon",
    "hooks",
)


def copy_shipped(target: Path) -> Path:
    """`target`, made, with a copy of everything that is shipped."""
    target.mkdir(parents=True)
    for name in SHIPPED:
        if (CHECKOUT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, target / name, ignore=ignore)
        else:
            shutil.copy2(CHECKOUT / name, target / name)
    return target
