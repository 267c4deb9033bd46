"""Finds secrets in text and puts a marker in their place.

One pass of one RE2 automaton decides whether a text can hold anything at all; nearly all end
there. Otherwise three searches run, each left to right: private key blocks, because they may
contain what looks like another kind; what has a form of its own (keys, headers, URLs), so that
its marker tells the kind; assignments. They are repeated until nothing changes: a marker in the
place of a secret can make a word boundary that lets a neighbour match, and redacting twice must
equal redacting once.

Works on UTF-8 bytes: the binding of RE2 would encode the text for every search and translate
offsets back. Every decision is RE2's or linear in its value; `re` is not used, because it
backtracks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pattern_tracker.redact import assignments, private_keys
from pattern_tracker.redact.contexts import CONTEXT_RULES
from pattern_tracker.redact.providers import PROVIDER_RULES
from pattern_tracker.redact.rule import Rule, marker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEFAULT_RULES: tuple[Rule, ...] = (*PROVIDER_RULES, *CONTEXT_RULES)

# Each round can only uncover what touches a marker of the round before. Real text needs two.
_MAX_ROUNDS = 8

# Enough for the automaton of all rules not to be flushed while it runs over hostile text.
_AUTOMATON_BYTES = 64 << 20

Span = tuple[int, int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Redacted:
    """A text without its secrets, and how many of each kind it had."""

    text: str
    kinds: Counter[str] = field(default_factory=Counter)


class Redactor:
    """Compiled rules; immutable, and free to be shared by threads.

    Building one takes some milliseconds; `default_redactor` keeps one.
    """

    def __init__(self, rules: Sequence[Rule] = DEFAULT_RULES) -> None:
        """Compile `rules`, assignments always included.

        Raises:
            ValueError: a rule's pattern has more than one capturing group.

        """
        self.rules = tuple(rules)
        shapes = "|".join(_captured(rule) for rule in self.rules)
        self._shapes = _compile(shapes)
        self._assignments = _compile(assignments.PATTERN)
        self._sieve = _compile(f"{private_keys.DELIMITER}|{shapes}|{assignments.PATTERN}")

    def __repr__(self) -> str:
        """How many rules there are."""
        return f"<Redactor rules={len(self.rules) + 1}>"

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind that a marker of this redactor can name."""
        return frozenset({rule.name for rule in self.rules} | {private_keys.KIND, assignments.KIND})

    def redact_text(self, text: str) -> Redacted:
        """`text` with every secret replaced by `[REDACTED:kind]`."""
        data = text.encode("utf-8", "surrogatepass")
        if not self._sieve.search(_without_escapes(data)):
            return Redacted(text=text)
        kinds: Counter[str] = Counter()
        for _ in range(_MAX_ROUNDS):
            before = data
            data = _replace(data, _find_private_keys(data), kinds)
            data = _replace(data, self._find_shapes(data), kinds)
            data = _replace(data, self._find_assignments(data), kinds)
            if data == before:
                break
        return Redacted(text=data.decode("utf-8", "surrogatepass") if kinds else text, kinds=kinds)

    def _find_shapes(self, data: bytes) -> Iterator[Span]:
        position = 0
        searched = _without_escapes(data)
        while (found := self._shapes.search(searched, position)) is not None:
            # Exactly one group takes part in a match, and it is its rule's.
            start, end = found.span(found.lastindex)
            rule = self.rules[found.lastindex - 1]
            if rule.accepts(data[start:end].decode("utf-8", "surrogatepass")):
                yield start, end, rule.name
            position = max(found.end(), position + 1)

    def _find_assignments(self, data: bytes) -> Iterator[Span]:
        position = 0
        searched = _without_escapes(data)
        while (found := self._assignments.search(searched, position)) is not None:
            start, end = assignments.span_of_value(found)
            if assignments.holds_secret(assignments.read(found, data)):
                yield start, end, assignments.KIND
            position = max(found.end(), position + 1)


@cache
def default_redactor() -> Redactor:
    """The redactor with all rules, built at first use."""
    return Redactor()


def _without_escapes(data: bytes) -> bytes:
    r"""`data`, as long as before, with a blank for the letter of each escaped line end or tab.

    In the JSON of a notebook each line of code begins with the n of the `\n` before it, which
    would otherwise be the first letter of its first word.
    """
    if b"\\" not in data:
        return data
    for escape in (b"\\n", b"\\r", b"\\t"):
        data = data.replace(escape, b"\\ ")
    return data


def _find_private_keys(data: bytes) -> Iterator[Span]:
    for start, end in private_keys.find_private_keys(data):
        yield start, end, private_keys.KIND


def _replace(data: bytes, spans: Iterator[Span], kinds: Counter[str]) -> bytes:
    pieces: list[bytes] = []
    position = 0
    for start, end, kind in spans:
        pieces += (data[position:start], marker(kind).encode())
        position = end
        kinds[kind] += 1
    return b"".join([*pieces, data[position:]]) if pieces else data


def _captured(rule: Rule) -> str:
    """The rule's pattern with exactly one group: the part to replace."""
    groups = _compile(rule.pattern).groups
    if groups > 1:
        raise ValueError(f"rule {rule.name}: {groups} capturing groups; leave one at most")
    return f"(?:{rule.pattern})" if groups else f"({rule.pattern})"


def _compile(pattern: str) -> Any:
    import re2  # noqa: PLC0415 - importing this package stays cheap for who redacts nothing

    options = re2.Options()
    options.max_mem = _AUTOMATON_BYTES
    # Its complaints about a bad pattern would go to stderr; they are raised anyway.
    options.log_errors = False
    return re2.compile(pattern.encode(), options)
