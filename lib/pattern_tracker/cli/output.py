"""How commands print: tables for people at a terminal, plain lines for everything else."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec

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


def print_rows(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> None:
    """A table at a terminal (colours unless NO_COLOR); tab-separated lines elsewhere."""
    if not sys.stdout.isatty():
        for row in rows:
            print_line("\t".join(_one_line(cell) for cell in row))
        return
    from rich.console import Console  # noqa: PLC0415 - costs as much as all the rest
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # As text: what was read from a ledger must not be taken for markup.
        table.add_row(*(Text(_one_line(cell)) for cell in row))
    Console().print(table)


def _one_line(text: str) -> str:
    """Nothing that was recorded may move a terminal's cursor."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
