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

# Beyond this, JSON was made to hurt; what is deeper is not looked at, and therefore not kept.
MAX_DEPTH = 100
TOO_DEEP = marker("nested-too-deep")

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
        if not self._sieve.search(data):
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

    def redact_value(self, value: Any, kinds: Counter[str] | None = None) -> Any:
        """A JSON-like value with every string redacted, in keys too; counts go into `kinds`.

        A string under a secret-looking key is judged together with that key.
        """
        return self._value(value, kinds if kinds is not None else Counter(), depth=0)

    def _value(self, value: Any, kinds: Counter[str], *, depth: int) -> Any:
        if isinstance(value, str):
            return self._string(value, kinds)
        if isinstance(value, dict | list | tuple) and depth >= MAX_DEPTH:
            return TOO_DEEP
        if isinstance(value, dict):
            return {
                self._value(key, kinds, depth=depth + 1): self._member(
                    key, item, kinds, depth=depth + 1
                )
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._value(item, kinds, depth=depth + 1) for item in value]
        return value

    def _member(self, key: Any, item: Any, kinds: Counter[str], *, depth: int) -> Any:
        redacted = self._value(item, kinds, depth=depth)
        if isinstance(key, str) and isinstance(redacted, str) and self._is_assigned(key, redacted):
            kinds[assignments.KIND] += 1
            return marker(assignments.KIND)
        return redacted

    def _is_assigned(self, key: str, value: str) -> bool:
        # Only short keys are names, and the key must be the name to its end, so one cheap look
        # suffices.
        if len(key) > 100 or not value or "\n" in value:
            return False
        quoted = value.replace("\\", " ").replace('"', " ")
        text = f'"{key}"="{quoted}"'.encode("utf-8", "surrogatepass")
        found = self._assignments.search(text)
        return bool(
            found
            and found.end() == len(text)
            and assignments.holds_secret(assignments.read(found, text))
        )

    def _string(self, text: str, kinds: Counter[str]) -> str:
        redacted = self.redact_text(text)
        kinds.update(redacted.kinds)
        return redacted.text

    def _find_shapes(self, data: bytes) -> Iterator[Span]:
        position = 0
        while (found := self._shapes.search(data, position)) is not None:
            # Exactly one group takes part in a match, and it is its rule's.
            start, end = found.span(found.lastindex)
            rule = self.rules[found.lastindex - 1]
            if rule.accepts(data[start:end].decode("utf-8", "surrogatepass")):
                yield start, end, rule.name
            position = max(found.end(), position + 1)

    def _find_assignments(self, data: bytes) -> Iterator[Span]:
        position = 0
        while (found := self._assignments.search(data, position)) is not None:
            start, end = assignments.span_of_value(found)
            if assignments.holds_secret(assignments.read(found, data)):
                yield start, end, assignments.KIND
            position = max(found.end(), position + 1)


@cache
def default_redactor() -> Redactor:
    """The redactor with all rules, built at first use."""
    return Redactor()


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
