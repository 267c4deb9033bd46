"""`pattern-tracker config`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from pattern_tracker.cli.output import print_json, print_line, print_rows
from pattern_tracker.config_report import report_config

if TYPE_CHECKING:
    import argparse

    from pattern_tracker.config_report import ConfigRow

HEADINGS = ("setting", "value", "source", "in the daemon")


def run(options: argparse.Namespace) -> int:
    """Print each setting, its source, and where the daemon uses another value."""
    report = report_config(os.environ)
    if options.json:
        print_json({"schema": 1, **msgspec.to_builtins(report, enc_hook=str)})
        return 0
    print_rows(HEADINGS, [_row(row) for row in report.rows])
    there = "" if report.config_file_exists else " (does not exist)"
    print_line(f"configuration file: {report.config_file}{there}")
    for row in report.differences:
        print_line(_advice(row))
    return 0


def _advice(row: ConfigRow) -> str:
    if not row.source.startswith("environment"):
        # Only a credential: it belongs to the destination that it was given for.
        return (
            f"{row.key}: the file's is for the file's service.url, not for this shell's;"
            f" give one for that too, in {row.variable}"
        )
    return (
        f"{row.variable or row.key}: the daemon does not see this shell's environment;"
        f" set {row.key} in the file to change it there too"
    )


def _row(row: ConfigRow) -> tuple[str, str, str, str]:
    differs = f"{row.daemon_value} ({row.daemon_source})" if row.differs else "the same"
    return row.key, row.value, row.source, differs
