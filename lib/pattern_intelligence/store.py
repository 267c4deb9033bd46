"""What the service needs from a store, whichever database is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pattern_intelligence.answers import Ancestry, Descendants, Evolution, Tracked
    from pattern_intelligence.contract import TrackRequest
    from pattern_intelligence.errors import EventRefusedError


class Store(Protocol):
    """Events, the lineage they draw, and the code they carry.

    Every method raises `StoreUnavailableError` when the database fails, and has then
    changed nothing.
    """

    async def track(self, events: Sequence[TrackRequest]) -> list[Tracked | EventRefusedError]:
        """Store events in order, all in one transaction; durable when this returns.

        A known `event_id` is a no-op.  The answer has one entry per event, in order.
        """
        ...

    async def ancestry(self, pattern_id: str) -> Ancestry | None:
        """Everything that the pattern's newest node came from; None if it is unknown."""
        ...

    async def descendants(self, pattern_id: str) -> Descendants | None:
        """Everything that came from the pattern; None if it is unknown."""
        ...

    async def evolution(self, pattern_id: str) -> Evolution | None:
        """The pattern's versions with what they came from and led to; None if unknown."""
        ...

    async def check(self) -> None:
        """Prove that the store can be read and written, by doing both."""
        ...

    async def forget_before(self, moment: float, *, limit: int) -> int:
        """Delete up to `limit` events and as many bodies older than `moment` (epoch seconds).

        Returns how many rows went; 0 means that nothing is left to forget.
        """
        ...

    async def close(self) -> None:
        """Release the database."""
        ...
