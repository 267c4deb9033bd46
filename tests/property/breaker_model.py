"""A model of the circuit breaker that shares none of its mechanics.

The breaker keeps counters and absolute times; the model keeps a log of outcomes per
era and counts time down.  `reached` collects what a run of the machine came by.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import takewhile

from pattern_tracker.resilience.breaker_state import BreakerPolicy, Mode

# Times are multiples of it: exact in a double, so that breaker and model agree to
# the instant also at a deadline.
TICK = 1 / 64

reached: Counter[str] = Counter()


@dataclass(eq=False)
class ModelProbe:
    left: float


@dataclass(eq=False)
class ModelEra:
    mode: Mode
    cause: str = ""
    log: str = ""
    age: float = 0.0
    left: float = 0.0
    flying: list[ModelProbe] = field(default_factory=list)
    admitted: int = 0

    def trailing(self, letter: str) -> int:
        return len(list(takewhile(letter.__eq__, reversed(self.log))))


ModelPermit = tuple[ModelEra, ModelProbe | None]


class Model:
    """What the docstring of the breaker promises, said in another way."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.era = ModelEra(Mode.CLOSED)
        self.last: float | None = None
        self.level = 0
        self.pause = 0.0
        self.misled = False

    def begin(self, mode: Mode, now: float, cause: str = "") -> None:
        reached[f"{self.era.mode} to {mode}"] += 1
        self.era = ModelEra(mode, cause)
        self.last = now

    def begin_open(self, now: float, pause: float, *, late_by: float = 0.0) -> None:
        self.misled = self.misled or (self.era.mode is Mode.HALF_OPEN and self.era.cause == "hint")
        self.begin(Mode.OPEN, now)
        self.pause = pause
        self.era.left = pause - late_by
        self.era.age = late_by

    def pass_time(self, now: float) -> None:
        elapsed = 0.0 if self.last is None else now - self.last
        self.last = now
        era = self.era
        era.age = max(0.0, era.age + elapsed)
        if era.mode is Mode.OPEN:
            if era.left - elapsed > self.pause:
                reached["open time clamped"] += 1
            era.left = min(self.pause, era.left - elapsed)
        for probe in era.flying:
            probe.left = min(self.policy.probe_timeout_seconds, probe.left - elapsed)
        gone = [probe for probe in era.flying if probe.left <= 0]
        if gone:
            reached["probe lost"] += 1
            era.flying = [probe for probe in era.flying if probe.left > 0]
            self.open_if_exhausted(now, late_by=-max(probe.left for probe in gone))

    def open_if_exhausted(self, now: float, *, late_by: float = 0.0) -> None:
        era = self.era
        if not era.flying and era.admitted >= self.policy.half_open_total_calls:
            reached["era without result"] += 1
            self.begin_open(now, self.pause, late_by=late_by)

    def has_room(self) -> bool:
        calls, total = self.policy.half_open_max_calls, self.policy.half_open_total_calls
        return len(self.era.flying) < calls and self.era.admitted < total

    def admit(self, now: float, *, forced: bool) -> ModelPermit | None:
        self.pass_time(now)
        mode = self.era.mode
        if mode is Mode.FORCED_OPEN:
            return None
        if mode not in {Mode.OPEN, Mode.HALF_OPEN}:
            return self.era, None
        waiting = self.era.left > 0 if mode is Mode.OPEN else not self.has_room()
        if waiting and not forced:
            reached[f"refused while {mode}"] += 1
            return None
        if waiting:
            reached[f"person probes while {mode}"] += 1
            self.begin(Mode.HALF_OPEN, now, "person")
        elif mode is Mode.OPEN:
            self.begin(Mode.HALF_OPEN, now, "person" if forced else "due")
        probe = ModelProbe(self.policy.probe_timeout_seconds)
        self.era.flying.append(probe)
        self.era.admitted += 1
        return self.era, probe

    def believes(self, permit: ModelPermit) -> bool:
        era, probe = permit
        return era is self.era and (probe is None or probe in era.flying)

    def succeed(self, permit: ModelPermit, now: float) -> None:
        self.pass_time(now)
        if not self.believes(permit) or self.era.mode is Mode.DISABLED:
            reached["outcome ignored"] += 1
            return
        self.era.log += "s"
        if permit[1] is None:
            self.forget_growth()
            return
        self.era.flying.remove(permit[1])
        if self.era.trailing("s") >= self.policy.success_threshold:
            self.begin(Mode.CLOSED, now)
            self.misled = False
        else:
            self.open_if_exhausted(now)

    def forget_growth(self) -> None:
        row = self.era.trailing("s")
        if row >= self.policy.stable_successes and self.era.age >= self.policy.timeout_seconds:
            reached["growth forgotten"] += self.level > 0
            self.level = 0

    def fail(self, permit: ModelPermit, now: float) -> bool:
        """True if the breaker must have tripped; `begin_open` is then up to the caller."""
        self.pass_time(now)
        if not self.believes(permit) or self.era.mode is Mode.DISABLED:
            reached["outcome ignored"] += 1
            return False
        self.era.log += "f"
        if self.era.mode is Mode.HALF_OPEN:
            if self.era.cause == "due":
                self.level += 1
            self.level = max(self.level, 1)
            return True
        if self.era.mode is Mode.FORCED_CLOSED:
            return False
        window = self.era.log[-self.policy.window_size :]
        in_a_row = self.era.trailing("f") >= self.policy.failure_threshold
        rate = len(window) >= self.policy.window_minimum and (
            window.count("f") / len(window) >= self.policy.failure_rate
        )
        reached["tripped by rate alone"] += rate and not in_a_row
        self.level += in_a_row or rate
        return in_a_row or rate

    def give_back(self, permit: ModelPermit) -> None:
        if self.believes(permit) and permit[1] is not None:
            self.era.flying.remove(permit[1])
            self.era.admitted -= 1

    def hint(self, now: float, *, news: bool) -> None:
        if self.era.mode is not Mode.OPEN:
            return
        if self.misled and not news:
            reached["hint not believed"] += 1
            return
        self.misled = False
        self.begin(Mode.HALF_OPEN, now, "hint")

    def set_by_hand(self, mode: Mode, now: float) -> None:
        self.begin(mode, now)
        if mode is not Mode.FORCED_OPEN:
            self.level, self.pause, self.misled = 0, 0.0, False

    def longest_open(self) -> float:
        """Half of it is the shortest."""
        longest = self.policy.timeout_seconds
        for _ in range(self.level - 1):
            longest = min(2 * longest, self.policy.timeout_cap_seconds)
        return longest
