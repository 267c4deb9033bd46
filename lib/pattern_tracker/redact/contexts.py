"""Secrets that what stands around them gives away: headers, URLs, flags, elements, SQL."""

from __future__ import annotations

from pattern_tracker.redact.placeholder import is_secret
from pattern_tracker.redact.rule import Rule

_NAMES = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret(?:[_-]?key)?|token"
    r"|(?:api|access|auth|private|account|encryption|signing)[_-]?key|credentials?)"
)


def _is_basic_auth(value: str) -> bool:
    return is_secret(value) and not value.isalpha()


CONTEXT_RULES: tuple[Rule, ...] = (
    Rule(
        name="putty-private-key",
        pattern=r"Private-Lines: [0-9]{1,4}\s+((?:[A-Za-z0-9+/=]{16,}\s*)+)",
    ),
    Rule(
        name="bearer-token",
        pattern=r"(?i:\bbearer(?:\s+|%20))([A-Za-z0-9+/=._~-]{16,})",
        accepts=is_secret,
    ),
    Rule(
        name="basic-auth",
        pattern=r"(?i:\bauthorization\\*[\"']?\s*[:=,]\s*\\*[\"']?(?:basic|digest|token|negotiate)\s+)([A-Za-z0-9+/=._~-]{6,})",
        accepts=is_secret,
    ),
    Rule(
        name="basic-auth",
        pattern=r"\bBasic ([A-Za-z0-9+/]{12,}={0,2})",
        accepts=_is_basic_auth,
    ),
    Rule(
        name="url-password",
        # Up to the last @ before the path: an unescaped @ in a password is common.
        pattern=r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"'`<>\\]*:([^\s/\"'`<>\\]+)@",
        accepts=is_secret,
    ),
    Rule(
        # As curl has it. Asking for `curl` earlier on the line would have every `curl` read the
        # rest of it.
        name="user-flag",
        pattern=r"\s(?:-u|--user|--proxy-user)[ =]?[\"']?[^\s:\"'$]+:([^\s\"']{4,})",
        accepts=lambda value: is_secret(value) and not value.isdigit() and "/" not in value,
    ),
    Rule(
        name="secret-flag",
        pattern=(
            rf"(?i:(?:^|[\s\"'`])--?(?:[a-z0-9]+[_-])*{_NAMES}(?:[ \t]+|=)[\"']?)"
            r"([^\s\"'`<>|;&()$\\-][^\s\"'`<>|;&()\\]{5,})"
        ),
        accepts=lambda value: is_secret(value) and not value.isupper(),
    ),
    Rule(
        name="secret-element",
        pattern=rf"(?i:<(?:[\w.:-]*[._:-])?{_NAMES}>)([^<>\s]{{4,}})</",
        accepts=is_secret,
    ),
    Rule(
        name="sql-password",
        pattern=(
            r"(?i:\b(?:identified\s+(?:with\s+\S{1,40}\s+)?by|with\s+(?:encrypted\s+)?password)\s+)"
            r"'([^'\n]{4,})'"
        ),
        accepts=is_secret,
    ),
)
