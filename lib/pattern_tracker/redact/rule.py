"""One kind of secret: how it looks, and what it is called once it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MARKER_START = "[REDACTED:"


def marker(kind: str) -> str:
    """What stands where a secret of this `kind` was."""
    return f"{MARKER_START}{kind}]"


def always(_: str) -> bool:
    """For rules whose pattern alone decides."""
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A secret that its own shape, or what stands around it, gives away.

    `pattern` is RE2 syntax with at most one capturing group: the part to be replaced (without a
    group: the whole match). `accepts` sees that part and may decline, for placeholders. A pattern
    must not have to look far past the end of its match, or many matches cost quadratic time.
    """

    name: str
    pattern: str
    accepts: Callable[[str], bool] = always
