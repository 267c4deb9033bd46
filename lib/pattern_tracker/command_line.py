"""What the command lines share: numbers as arguments, text for terminals, a reader who left."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def whole_number(*, at_least: int, at_most: int = sys.maxsize) -> Callable[[str], int]:
    """An argument's type: decimal digits, nothing else."""
    wanted = f"of {at_least} or more" if at_most == sys.maxsize else f"from {at_least} to {at_most}"

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and at_least <= int(text[:20]) <= at_most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {wanted}")

    return parse


def printable(text: str) -> str:
    """`text` in which all that a terminal would act on is escaped: it may have been recorded."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def abandon_stdout() -> None:
    """Nobody reads any more (`... | head`): the flush at the interpreter's end must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def flush_or_abandon_stdout() -> None:
    """What could not be printed, to a full disk say, must not fail once more at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        abandon_stdout()
