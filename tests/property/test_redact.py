from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pattern_tracker.redact import default_redactor

ALNUM = "A1b2C3d4E5f6G7h8I9j0"
DASHES = "-" * 5

# What rules are made of, so that random texts come close to secrets and touch each other.
PIECES = st.sampled_from(
    [
        "AKIA",
        "ABCDEFGH234567QR",
        "ghp" + "_",
        ALNUM,
        "eyJ",
        ".",
        "sk-",
        "xoxb-",
        "SG.",
        "hf_",
        "Basic ",
        f"{DASHES}BEGIN PRIVATE" + f" KEY{DASHES}",
        f"{DASHES}END PRIVATE" + f" KEY{DASHES}",
        "password",
        "token",
        "API_KEY",
        "=",
        " = ",
        ": ",
        ":",
        '"',
        "'",
        '\\"',
        "\\",
        "\n",
        " ",
        "://",
        "@",
        "user",
        "hunter2",
        "<",
        ">",
        "{",
        "}",
        "${X}",
        "--password",
        "Bearer ",
        "é",
        "\u2028",
        "(",
        ")",
        "[REDACTED:",
        "]",
        "str",
        "_",
        "-",
        "/",
    ]
)
TEXTS = st.lists(PIECES, max_size=25).map("".join)


@given(TEXTS)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = default_redactor().redact_text(text).text
    assert default_redactor().redact_text(once).text == once


@given(st.text())
def test_any_text_survives(text: str) -> None:
    redacted = default_redactor().redact_text(text)
    assert redacted.kinds or redacted.text == text


@given(TEXTS, TEXTS)
def test_a_key_on_a_line_of_its_own_never_gets_through(before: str, after: str) -> None:
    secret = "AKIA" + "ABCDEFGH234567QZ"
    text = f"{before}\n{secret}\n{after}"
    assert secret not in default_redactor().redact_text(text).text
