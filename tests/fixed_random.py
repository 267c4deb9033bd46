"""Randomness that draws what the test says."""

from __future__ import annotations

import random


class FixedRandom(random.Random):
    """Every `random()` is `drawn`."""

    def __init__(self, drawn: float = 0.0) -> None:
        super().__init__(0)
        self.drawn = drawn

    def random(self) -> float:
        return self.drawn
