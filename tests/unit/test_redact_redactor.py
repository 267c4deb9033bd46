from __future__ import annotations

import subprocess
import sys

import pytest

from pattern_tracker.redact import default_redactor, marker

TOKEN = "ghp" + "_" + "A1b2C3d4E5f6G7h8I9j0" * 2
PASSWORD = "hunter" + "2"


def redact(text: str) -> str:
    return default_redactor().redact_text(text).text


def test_clean_text_is_returned_as_it_was() -> None:
    text = "def f(x):\n    return x\n"
    redacted = default_redactor().redact_text(text)
    assert redacted.text is text
    assert not redacted.kinds


@pytest.mark.parametrize("around", ["é", "\u2028", "\U0001f600", "\ud800", "\0", "\r\n"])
def test_text_around_a_secret_survives_whatever_it_is(around: str) -> None:
    text = f'{around} "{TOKEN}" {around}'
    assert redact(text) == f'{around} "{marker("github-token")}" {around}'


def test_a_known_key_under_a_secret_name_keeps_its_own_kind() -> None:
    assert redact(f'token = "{TOKEN}"') == f'token = "{marker("github-token")}"'


def test_every_secret_is_counted_by_kind() -> None:
    text = f'a = "{TOKEN}"\nb = "{TOKEN}"\npassword = "{PASSWORD}"\n'
    assert default_redactor().redact_text(text).kinds == {"github-token": 2, "assigned-secret": 1}


def test_url_keeps_user_and_host() -> None:
    assert redact(f"pg://me:{PASSWORD}@db/x") == f"pg://me:{marker('url-password')}@db/x"


def test_a_secret_redacts_alike_on_both_sides_of_an_edit() -> None:
    line = f'password = "{PASSWORD}"\n'
    before, after = redact(line + "a = 1\n"), redact("import x\n" + line + "a = 2\n")
    assert before.splitlines()[0] == after.splitlines()[1]


def test_a_secret_after_a_declined_value_is_still_found() -> None:
    assert redact(f'token = login(password="{PASSWORD}")') == (
        f'token = login(password="{marker("assigned-secret")}")'
    )


def test_an_escaped_line_end_does_not_hide_the_word_after_it() -> None:
    cell = f'"source": "import os\\n{TOKEN}\\r\\n{TOKEN}\\n\\t{TOKEN}"'
    assert redact(cell) == cell.replace(TOKEN, marker("github-token"))
    variable = f'"source": "# settings\\nAPI_PASSWORD={PASSWORD}\\n"'
    assert redact(variable) == variable.replace(PASSWORD, marker("assigned-secret"))


def test_importing_the_package_does_not_load_the_regex_engine() -> None:
    code = "import sys, pattern_tracker.redact; sys.exit('re2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_repr_is_for_operators() -> None:
    assert repr(default_redactor()).startswith("<Redactor rules=")
