r"""Values assigned to names that say "secret": code, shell, JSON, YAML, .env, query strings.

Two questions, asked in this order. Does the name mean a secret? The secret word has to come last:
`db_password` and `API_TOKEN_2` do, `password_field`, `tokenizer` and `max_tokens` do not. Is the
value one written down? A literal is; a type, a call, a variable or a placeholder is not.

Words are strong (`password`: any literal counts) or weak (`token`, `key`: parsers and paginators
have those too, so the value must look made by a machine). A bare word is the hard case,
`password: hunter` in YAML against `password: Hashed` in TypeScript; what reads like an identifier
of code is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from pattern_tracker.redact.placeholder import is_placeholder

KIND = "assigned-secret"

_STRONG = r"pass(?:word|wd|phrase|code)|pwd|secret(?:[_.-]?(?:access[_.-]?)?key(?:[_.-]?base)?)?"
_WEAK = (
    r"token|credentials?"
    r"|(?:api|access|auth|private|signing|encryption|master|account|service|client|shared|app"
    r"|license)[_.-]?key"
)
_VARIANT = (
    r"(?:[_-]?[0-9]{1,3}"
    r"|[_-](?:prod|production|dev|staging|stage|test|live|old|new|primary|secondary|default|value))?"
)

_NAME = rf"([\w.-]*(?:({_STRONG})|(?:{_WEAK})){_VARIANT})"
_NAME_END = r"\\*[\"'`]?\]?"
_ANNOTATION = r"(?:[ \t]*:[ \t]*[\w.\[\]|?<>&' ]{1,60}?)?(?:[ \t]+string)?"
_OPERATOR = rf"(?:{_ANNOTATION}[ \t]*(=>|[=!]==?|[:?+|]?=)[ \t]*|[ \t]*:[ \t]*(?:[|>][+-]?)?\s*)"
_PREFIX = r"[bBfFrRuU@$]{0,2}"

_QUOTED = (
    r"\\+[\"']([^\"'\\\n]*)"
    r"|\"(?:\"\")?((?:[^\"\\\n]|\\[^\n])*)\""
    r"|'(?:'')?((?:[^'\\\n]|\\[^\n])*)'"
    r"|`([^`\n]*)`"
    r"|[\"']([^\s\"'\\]*)"
)
_BARE = r"([^=\s\"'`,;(){}\[\]<>&|\\]+)"

PATTERN = rf"(?i:{_NAME}){_NAME_END}{_OPERATOR}(?:{_PREFIX}(?:{_QUOTED})|{_BARE})"

# The binding of RE2 asks for groups by number. Six groups can hold the value, `_BARE` is the last.
_GROUP_NAME, _GROUP_STRONG, _GROUP_ASSIGN, _GROUP_FIRST_VALUE, _GROUP_BARE = 1, 2, 3, 4, 9

# Not one of these alone decides; together they are what identifiers look like in the languages at
# hand.
_IDENTIFIER = (
    r"[a-z]+[0-9]*(?:_[a-z]+[0-9]*)+"  # snake_case
    r"|_*[a-z]+(?:[A-Z][a-z]*[0-9]*)+"  # camelCase
    r"|(?:[A-Z][a-z]+){2,}[0-9]?"  # PascalCase
    r"|[A-Z]+(?:_[A-Z0-9]+)+"  # CONSTANT_CASE
    r"|[A-Za-z_$]\w{0,30}(?:(?:\.|::|->|\?\.)[A-Za-z_$]\w{0,40})+!?\??"  # dotted.path, a::b
    r"|(?:u?int|float|bytes|str|utf|base|sha|md|varchar|char|text|oauth)-?[0-9]*"
)
_PATH = r"(?:[~.]{0,2}/|[A-Za-z]:\\)[\w.@ -]*(?:[/\\][\w.@ -]*)*"
_WORDS = r"[A-Za-z]+(?:[ ._:/-][A-Za-z]+)*"

_CODE_FOLLOWS = b"([{<"
# Tag, alias, and what no plain scalar may begin with: `password: !vault x`, `password: *default`.
_YAML_SIGNS = frozenset("!*@")


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One name with its value, as the pattern found it."""

    name: str
    strong: bool
    operator: str
    value: str
    quoted: bool
    code_follows: bool
    ends_line: bool


def span_of_value(match: Any) -> tuple[int, int]:
    """Where in the text the value is, without its quotes."""
    spans = map(match.span, range(_GROUP_FIRST_VALUE, _GROUP_BARE + 1))
    start, end = next(span for span in spans if span[0] >= 0)
    return start, end


def read(match: Any, text: bytes) -> Assignment:
    """The assignment that `match`, of `PATTERN` over UTF-8 `text`, has found."""
    start, end = span_of_value(match)
    value = text[start:end].decode("utf-8", "replace")
    name_start, name_end = match.span(_GROUP_NAME)
    following = text[end : end + 1]
    operator_start, operator_end = match.span(_GROUP_ASSIGN)
    spaced = operator_start > 0 and text[operator_start - 1 : operator_start] in (b" ", b"\t")
    return Assignment(
        name=text[name_start:name_end].decode("utf-8", "replace"),
        strong=match.start(_GROUP_STRONG) >= 0,
        operator=_operator(text[max(operator_start, 0) : max(operator_end, 0)], spaced=spaced),
        value=value,
        quoted=match.start(_GROUP_BARE) < 0,
        code_follows=following != b"" and following in _CODE_FOLLOWS,
        ends_line=text[end : end + 2].lstrip(b" \t\r")[:1] in (b"", b"\n", b"#"),
    )


def holds_secret(found: Assignment) -> bool:
    """Whether the value is a secret written down."""
    if is_placeholder(found.value) or _is_path(found):
        return False
    return _quoted_secret(found) if found.quoted else _bare_secret(found)


def _quoted_secret(found: Assignment) -> bool:
    if not found.strong:
        return _machine_made(found.value)
    # `password: "Please enter your password"` is a message; assigned with `=`, a passphrase.
    return found.operator != ":" or " " not in found.value.strip()


def _bare_secret(found: Assignment) -> bool:
    value = found.value.rstrip(".!?:")
    if found.code_follows or value[:1] in _YAML_SIGNS or _mentions_secret(value):
        return False
    if found.operator == "=" and _is_environment_name(found.name):
        return found.strong or _machine_made(value)
    if _patterns().identifier.fullmatch(value):
        return False
    if not found.strong:
        return _machine_made(value)
    if _has_digit(value):
        return len(value) >= 6 and not value.endswith(")")
    return found.ends_line and found.operator == ":" and len(value) >= 6 and value.islower()


def _machine_made(value: str) -> bool:
    if any(sign.isspace() for sign in value):
        return False
    if _has_digit(value):
        return len(value) >= 8 and any(sign.isalpha() for sign in value)
    return len(value) >= 20 and not _patterns().words.fullmatch(value)


def _is_path(found: Assignment) -> bool:
    value = found.value
    # Keys in base64 may begin with a slash, and are long runs where paths are short ones.
    longest = max((len(part) for part in value.replace("\\", "/").split("/")), default=0)
    return longest < 20 and _patterns().path.fullmatch(value) is not None and "/" in value


def _operator(sign: bytes, *, spaced: bool) -> str:
    if not sign:
        return ":"
    return " = " if spaced else "="


def _is_environment_name(name: str) -> bool:
    return name.isupper()


def _has_digit(value: str) -> bool:
    return any(sign.isdigit() for sign in value)


def _mentions_secret(value: str) -> bool:
    return _patterns().secret_word.search(value) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Patterns:
    identifier: Any
    path: Any
    words: Any
    secret_word: Any


@cache
def _patterns() -> _Patterns:
    import re2  # noqa: PLC0415 - importing this package stays cheap for who redacts nothing

    return _Patterns(
        identifier=re2.compile(_IDENTIFIER),
        path=re2.compile(_PATH),
        words=re2.compile(_WORDS),
        secret_word=re2.compile(rf"(?i:{_STRONG}|{_WEAK})"),
    )
