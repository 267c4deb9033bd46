"""How commands print: tables for people at a terminal, plain lines for everything else."""

from __future__ import annotations

import json
import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from pattern_tracker.command_line import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_json(value: Any, *, compact: bool = False) -> None:
    """`value` as JSON: indented, or on one line."""
    text = json.dumps(msgspec.to_builtins(value), indent=None if compact else 2)
    # All that is not ASCII is escaped by now, and with it what could move a cursor, but for DEL.
    print_line(text.replace("\x7f", "\\u007f"))


def print_line(text: str = "") -> None:
    """One line on standard output; what the terminal's encoding lacks is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))


def print_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table at a terminal (colours unless NO_COLOR); tab-separated lines elsewhere.

    A row without a first cell belongs to the one above; a line is drawn below such a group.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print_line("\t".join(printable(cell) for cell in row))
        return
    from rich.box import HORIZONTALS  # noqa: PLC0415 - rich costs as much as all the rest
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        box=HORIZONTALS,
        padding=(0, 1, 0, 0),
        show_header=any(headings),
        header_style="bold",
    )
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row, following in zip_longest(rows, rows[1:], fillvalue=("",)):
        # As text: what was read from a ledger must not be taken for markup.
        cells = [Text(printable(cell)) for cell in row]
        table.add_row(*cells, end_section=bool(following[0] and not row[0]))
    Console().print(table)
