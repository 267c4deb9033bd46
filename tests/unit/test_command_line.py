from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from pattern_tracker.command_line import printable, whole_number


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("007", 7), ("20", 20)])
def test_whole_number_in_range_is_taken(text, number):
    assert whole_number(at_least=1, at_most=20)(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "21", "-1", "+1", "1.0", "1_0", " 1", "one", "٣", "9" * 5000]
)
def test_whole_number_out_of_range_or_of_other_signs_is_refused_by_what_was_typed(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 1 to 20"):
        whole_number(at_least=1, at_most=20)(text)


def test_whole_number_without_a_limit_takes_what_the_machine_can_count():
    parse = whole_number(at_least=0)
    assert parse(str(sys.maxsize)) == sys.maxsize
    with pytest.raises(argparse.ArgumentTypeError, match="whole number of 0 or more"):
        parse(str(sys.maxsize + 1))


def test_printable_escapes_what_a_terminal_would_act_on():
    assert printable("grün\x1b[2J\r\n\x7f\u202e") == "grün\\x1b[2J\\r\\n\\x7f\\u202e"


def test_abandoned_stdout_takes_what_is_still_flushed():
    program = (
        "import sys; from pattern_tracker.command_line import abandon_stdout;"
        "sys.stdout.write('kept back'); abandon_stdout()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
