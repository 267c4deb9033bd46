"""Values that stand for a secret and are none: `<your-token>`, `changeme`, `${TOKEN}`, `None`.

Whoever documents a setting must be able to write an example; redacting it would only make two
equal files look different from what they are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pattern_tracker.redact.rule import MARKER_START

MIN_SECRET = 4

_WORDS = frozenset(
    """
    access_token any api_key apikey array bool boolean bytes changeit changeme char date default
    disabled dummy email empty enabled example false file float foobar hidden hide inherit input
    int integer key list long map mock name never nil none null number object optional
    os.environ pass passwd password placeholder plain prompt redacted required sample secret
    secretstr show str string stringdata tbd test text todo token true type undefined unknown
    unset user username uuid value void your_password
    """.split()  # noqa: SIM905 - as a list, one word per line, they would hide the rest
)

# Whole values. `...` and runs of one character are how people blank out a value. Phrases have no
# digits: `your-password-here` is an example, `your-pa55word` may be somebody's.
_WHOLE = (
    r"<[^<>]*>|\[[^\[\]]*\]|\.{2,}|[xX*#_.\-•…0]{3,}|\$[a-z_]+|(?-i:\$[A-Z_][A-Z0-9_]*)|%\w+%"
    r"|arn:aws[\w:/.-]*|(?:op|vault|ref|env|file|sm|ssm)://?\S*"
    r"|(?:your|insert|enter|replace|change|fake|dummy|example|sample|placeholder)[_. -][a-z_ .-]*"
    r"|[\w.-]*(?:[_. -](?:here|placeholder|example)|x{6,})"
)

# Parts filled in by a template, a shell or a format string.
_FILLED_IN = r"\$?\{+[^{}]*\}+|\$\([^()]*\)|#\{[^{}]*\}|%\(\w+\)s|%s|<[A-Za-z][\w .-]*>|\{%[^%]*%\}"


@cache
def _patterns() -> tuple[Any, Any]:
    import re2  # noqa: PLC0415 - importing this package stays cheap for who redacts nothing

    return re2.compile(f"(?i:{_WHOLE})"), re2.compile(_FILLED_IN)


def is_placeholder(value: str) -> bool:
    """Whether `value`, without quotes, is nobody's secret, or has been redacted already."""
    bare = value.strip()
    if len(bare) < MIN_SECRET or MARKER_START in bare or bare.lower() in _WORDS:
        return True
    whole, filled_in = _patterns()
    if whole.fullmatch(bare):
        return True
    if any(sign in bare for sign in "{<%(") and filled_in.search(bare):
        return len(filled_in.sub("", bare).strip(" :/._-")) < MIN_SECRET
    return False


def is_secret(value: str) -> bool:
    """The other way round, as rules need it."""
    return not is_placeholder(value)
