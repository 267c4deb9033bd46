"""Standard streams that are closed (`>&-`, some service managers), opened on nothing.

Python has None for such a stream, which nobody can print to; and the next file that
is opened, perhaps the ledger, would be given its number.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_MODES: Final = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_closed_streams() -> None:
    """Let what is printed to a closed stream go nowhere; call it before anything is opened."""
    closed = [name for name in _MODES if getattr(sys, name) is None]
    if not closed:
        return
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor < len(_MODES):  # the lowest free number is that of a closed stream
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional only
        descriptor = os.dup(descriptor)
    os.close(descriptor)
    for number, (name, mode) in enumerate(_MODES.items()):
        if name in closed:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - a stream, kept
