"""Takes secrets out of text before it reaches the ledger or the wire.

Patterns are identified by their redacted code, so the same secret on both sides of an edit must
redact the same way: a replacement names the kind of secret and depends on nothing else.

Refuses to guess from entropy alone: a hash, a UUID or a minified bundle stays as it is unless
a name or a provider's prefix says what it is.
"""

from __future__ import annotations

from pattern_tracker.redact.redactor import Redacted, Redactor, default_redactor
from pattern_tracker.redact.rule import MARKER_START, Rule, marker

__all__ = ["MARKER_START", "Redacted", "Redactor", "Rule", "default_redactor", "marker"]
