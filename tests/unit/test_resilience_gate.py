from __future__ import annotations

import msgspec
import pytest

from pattern_tracker.resilience import gate as gates
from pattern_tracker.resilience.breaker_state import BreakerPolicy, Mode
from pattern_tracker.resilience.gate import Gate, GatePolicy, GateState, Send, Wait
from pattern_tracker.resilience.hold import RETRY_AFTER_SPREAD_CAP_SECONDS, HoldPolicy
from pattern_tracker.resilience.policy import PolicyError
from tests.fixed_random import FixedRandom

POLICY = GatePolicy()
NOW = 1_750_000_000.0
HIGHEST = FixedRandom(1.0)


def sent(gate, now=NOW, **options):
    gate, answer = gates.decide(gate, POLICY, now, **options)
    assert isinstance(answer, Send), answer
    return gate, answer


def waits(gate, now=NOW, **options):
    gate, answer = gates.decide(gate, POLICY, now, **options)
    assert isinstance(answer, Wait), answer
    return answer


def succeeded(gate, now=NOW, accepted=None, **options):
    gate, send = sent(gate, now, **options)
    accepted = send.max_events if accepted is None else accepted
    return gates.after_success(gate, POLICY, send.permit, now, accepted=accepted)


def failed(gate, now=NOW, times=1, **options):
    for _ in range(times):
        gate, send = sent(gate, now, **options)
        gate = gates.after_failure(
            gate, POLICY, send.permit, now, HIGHEST, reason="connection refused"
        )
    return gate


def held(gate, now=NOW, *, retry_after=None, rng=HIGHEST, **options):
    gate, send = sent(gate, now, **options)
    return gates.after_hold(
        gate, POLICY, send.permit, now, rng, retry_after=retry_after, reason="429"
    )


def paused(gate, now=NOW, *, config="old", **options):
    gate, send = sent(gate, now, **options)
    return gates.after_pause(
        gate,
        POLICY,
        send.permit,
        now,
        reason="401: token rejected",
        remedy="pattern-tracker config",
        config_fingerprint=config,
    )


def checked(gate, healthy, now=NOW):
    return gates.after_health_check(gate, POLICY, now, HIGHEST, healthy=healthy)


def shown(gate, now=NOW):
    return gates.status(gate, POLICY, now)


def test_gate_fresh_sends_full_batches():
    gate, send = sent(Gate())
    assert send.max_events == 100
    assert shown(gate).state is GateState.SENDING


def test_gate_one_failure_halves_the_next_request():
    gate, send = sent(failed(Gate()))
    assert send.max_events == 50
    assert shown(gate).reason == "connection refused"


def test_gate_tripped_waits_and_says_since_when_and_why():
    gate = failed(Gate(), times=3)
    wait = waits(gate, NOW + 10)
    assert (wait.state, wait.reason) == (GateState.WAITING, "connection refused")
    assert wait.until == NOW + 60
    status = shown(gate, NOW + 10)
    assert (status.state, status.since, status.retry_at) == ("waiting", NOW, NOW + 60)


def test_gate_outage_is_shown_since_its_first_trip():
    gate = failed(failed(Gate(), times=3), NOW + 60)
    assert shown(gate, NOW + 61).since == NOW


def test_gate_probe_carries_one_event_and_others_wait_for_it():
    gate, send = sent(failed(Gate(), times=3), NOW + 60)
    assert send.max_events == 1
    assert shown(gate, NOW + 60).state is GateState.PROBING
    wait = waits(gate, NOW + 61)
    assert (wait.state, wait.until) == (GateState.PROBING, NOW + 180)


def test_gate_after_an_outage_ramps_up_to_full_batches():
    gate, sizes = failed(Gate(), times=3), []
    for _ in range(9):
        _, send = sent(gate, NOW + 60)
        sizes.append(send.max_events)
        gate = succeeded(gate, NOW + 60)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    assert (shown(gate, NOW + 60).state, shown(gate, NOW + 60).reason) == ("sending", "")


@pytest.mark.parametrize(("accepted", "size"), [(0, 50), (10, 50), (30, 60), (50, 100)])
def test_gate_ramp_grows_only_as_far_as_events_were_accepted(accepted, size):
    _, send = sent(succeeded(failed(Gate()), accepted=accepted))
    assert send.max_events == size


def test_gate_late_outcomes_of_an_earlier_era_change_no_size():
    gate, late = sent(Gate())
    gate = failed(gate, times=3)
    assert gates.after_failure(gate, POLICY, late.permit, NOW, HIGHEST, reason="late") == gate
    assert gates.after_success(gate, POLICY, late.permit, NOW, accepted=100).ramp_events == 1


def test_gate_hold_without_retry_after_grows_to_the_known_window():
    gate, now, lengths = Gate(), NOW, []
    for _ in range(6):
        gate = held(gate, now)
        until = waits(gate, now).until
        lengths.append(until - now)
        now = until
    assert lengths == [5, 10, 20, 40, 60, 60]


def test_gate_hold_without_retry_after_is_jittered_to_no_less_than_half():
    assert waits(held(Gate(), rng=FixedRandom(0.0))).until == NOW + 2.5


def test_gate_hold_growth_starts_again_after_a_success():
    gate = succeeded(held(held(Gate()), NOW + 5), NOW + 15)
    assert waits(held(gate, NOW + 15), NOW + 15).until == NOW + 20


def test_gate_several_429_of_one_moment_are_one_hold():
    gate, first = sent(Gate())
    gate, second = sent(gate)
    for send in (first, second):
        gate = gates.after_hold(
            gate, POLICY, send.permit, NOW, HIGHEST, retry_after=None, reason="429"
        )
    assert gate.holds_in_a_row == 1
    assert waits(gate).until == NOW + 5


@pytest.mark.parametrize(
    ("retry_after", "shortest", "longest"),
    [
        (20, 20, 22),
        (300, 300, 305),
        (0.001, 1, 1.1),
        (10**9, 3600, 3605),
        (float("inf"), 3600, 3605),
        (0, 2.5, 5),
        (-5, 2.5, 5),
        (float("nan"), 2.5, 5),
    ],
)
def test_gate_hold_with_retry_after_is_never_shorter_and_capped(retry_after, shortest, longest):
    low = held(Gate(), retry_after=retry_after, rng=FixedRandom(0.0))
    high = held(Gate(), retry_after=retry_after, rng=HIGHEST)
    assert waits(low).until == pytest.approx(NOW + shortest)
    assert waits(high).until == pytest.approx(NOW + longest)


def test_gate_holds_do_not_trip_the_breaker_nor_shrink_requests():
    gate, now = Gate(), NOW
    for _ in range(30):
        gate = held(gate, now)
        now += 60
    gate, send = sent(gate, now)
    assert (gate.breaker.mode, gate.breaker.consecutive_failures) == (Mode.CLOSED, 0)
    assert send.max_events == 100


def test_gate_hold_on_a_probe_gives_the_slot_back():
    gate = held(failed(Gate(), times=3), NOW + 60)
    assert shown(gate, NOW + 60).state is GateState.HELD
    _, send = sent(gate, NOW + 65)
    assert send.max_events == 1


def test_gate_success_in_flight_does_not_end_a_hold():
    gate, other = sent(Gate())
    gate = held(gate, retry_after=60)
    gate = gates.after_success(gate, POLICY, other.permit, NOW + 1, accepted=5)
    assert waits(gate, NOW + 59).state is GateState.HELD


@pytest.mark.parametrize(("first", "second"), [(60, 10), (10, 60), (60, None), (None, 60)])
def test_gate_of_two_holds_a_stated_one_counts_and_then_the_longer(first, second):
    gate, one = sent(Gate())
    gate, two = sent(gate)
    for send, retry_after in ((one, first), (two, second)):
        gate = gates.after_hold(
            gate, POLICY, send.permit, NOW, HIGHEST, retry_after=retry_after, reason="429"
        )
    assert waits(gate).until == NOW + 60 + RETRY_AFTER_SPREAD_CAP_SECONDS


def test_gate_hold_when_the_clock_goes_back_lasts_no_longer_than_stated():
    gate, wait = gates.decide(held(Gate(), retry_after=20), POLICY, NOW - 86_400)
    assert wait.until == pytest.approx(NOW - 86_400 + 22)
    sent(gate, NOW - 86_400 + 22)


def test_gate_paused_waits_and_names_the_remedy():
    gate = paused(Gate())
    wait = waits(gate, NOW + 599, config_fingerprint="old")
    assert (wait.state, wait.reason, wait.until) == ("paused", "401: token rejected", NOW + 600)
    status = shown(gate, NOW + 599)
    assert (status.state, status.remedy) == ("paused", "pattern-tracker config")
    assert gate.breaker.consecutive_failures == 0


def test_gate_paused_tries_one_event_every_ten_minutes():
    gate, send = sent(paused(Gate()), NOW + 600)
    assert send.max_events == 1
    assert waits(gate, NOW + 601).until == NOW + 1200


def test_gate_paused_again_is_shown_since_the_first_time():
    gate = paused(paused(Gate()), NOW + 600)
    assert shown(gate, NOW + 601).since == NOW


def test_gate_paused_tries_once_at_once_when_the_configuration_changed():
    gate, send = sent(paused(Gate()), NOW + 1, config_fingerprint="new")
    assert send.max_events == 1
    waits(gate, NOW + 2, config_fingerprint="new")


def test_gate_paused_ends_with_a_success_and_ramps_up():
    gate = succeeded(paused(Gate()), NOW + 600)
    gate, send = sent(gate, NOW + 600)
    assert (send.max_events, shown(gate, NOW + 600).state) == (2, "sending")


def test_gate_paused_on_a_probe_gives_the_slot_back():
    gate = paused(failed(Gate(), times=3), NOW + 60)
    assert gate.breaker.probes == ()
    sent(gate, NOW + 660)


def test_gate_paused_when_the_clock_goes_back_waits_no_longer_than_the_interval():
    assert waits(paused(Gate()), NOW - 86_400).until == NOW - 86_400 + 600


def test_gate_person_probes_an_open_breaker_with_one_event():
    _, send = sent(failed(Gate(), times=3), NOW + 1, forced=True)
    assert send.max_events == 1


def test_gate_person_goes_through_a_pause_and_a_guessed_hold_with_one_event():
    for gate in (paused(Gate()), held(Gate())):
        assert sent(gate, NOW + 1, forced=True)[1].max_events == 1


def test_gate_person_waits_for_the_time_that_the_server_named():
    assert waits(held(Gate(), retry_after=60), NOW + 1, forced=True).state is GateState.HELD


def test_gate_person_with_all_well_gets_a_full_batch():
    assert sent(Gate(), forced=True)[1].max_events == 100


def test_gate_forced_open_waits_for_a_person_and_reset_starts_slowly():
    gate = gates.force_open(paused(Gate()), NOW)
    wait = waits(gate, NOW + 10**7, forced=True)
    assert (wait.state, wait.until) == (GateState.FORCED_OPEN, None)
    status = shown(gate)
    assert (status.state, status.reason, status.retry_at) == ("forced-open", "set by hand", None)
    assert sent(gates.reset(gate, NOW))[1].max_events == 1


@pytest.mark.parametrize(
    ("change", "state"), [(gates.force_close, "forced-closed"), (gates.disable, "disabled")]
)
def test_gate_set_by_hand_sends_through_failures_but_honours_a_hold(change, state):
    gate = failed(change(Gate(), NOW), times=20)
    assert shown(gate).state == state
    assert waits(held(gate, retry_after=9)).state is GateState.HELD


@pytest.mark.parametrize(("retry_after", "state"), [(60, "held"), (None, "sending")])
def test_gate_reset_keeps_only_what_the_server_asked_for(retry_after, state):
    assert shown(gates.reset(held(Gate(), retry_after=retry_after), NOW)).state == state


def test_gate_abandoned_probe_can_be_made_again():
    gate, send = sent(failed(Gate(), times=3), NOW + 60)
    sent(gates.abandon(gate, send.permit), NOW + 60)


def test_gate_with_bad_health_sends_one_event():
    gate = checked(Gate(), healthy=False)

    _, send = sent(gate)

    assert send.max_events == 1


def test_bad_health_that_delivery_contradicts_slows_down_no_longer():
    gate = checked(Gate(), healthy=False)

    gate = succeeded(gate)

    assert gate.health.healthy is None
    assert sent(gate)[1].max_events == 2
    assert not gates.health_check_due(gate, POLICY, NOW + 1)


def test_gate_with_health_that_told_nothing_sends_full_batches():
    assert sent(checked(Gate(), healthy=None))[1].max_events == 100


def test_gate_good_health_ends_the_wait_of_the_breaker_but_no_pause_or_hold():
    gate = checked(failed(Gate(), times=3), healthy=True)
    assert sent(gate, NOW + 1)[1].max_events == 1
    waits(checked(paused(Gate()), healthy=True), NOW + 1)
    waits(checked(held(Gate()), healthy=True), NOW + 1)


def test_gate_health_that_is_always_good_is_believed_once_per_outage():
    gate = checked(failed(Gate(), times=3), healthy=True)
    gate = checked(failed(gate, NOW + 1), healthy=True, now=NOW + 2)
    assert waits(gate, NOW + 3).state is GateState.WAITING
    gate = checked(checked(gate, healthy=False), healthy=True, now=NOW + 3)
    sent(gate, NOW + 4)


def test_gate_health_is_asked_when_the_answer_is_old():
    gate = checked(Gate(), healthy=True)
    assert gates.health_check_due(Gate(), POLICY, NOW)
    assert not gates.health_check_due(gate, POLICY, NOW + 20)
    assert gates.health_check_due(gate, POLICY, NOW + 36)


def test_gate_health_is_asked_less_often_while_the_breaker_is_open():
    gate = checked(checked(failed(Gate(), times=3), healthy=False), healthy=False)
    assert not gates.health_check_due(gate, POLICY, NOW + 120)
    gate = checked(gates.reset(gate, NOW), healthy=False)
    assert gates.health_check_due(gate, POLICY, NOW + 36)


def test_gate_hold_when_the_clock_goes_back_is_not_since_the_future():
    assert shown(held(Gate(), retry_after=60), NOW - 100).since == NOW - 100


def test_gate_survives_storage():
    gate = checked(held(paused(failed(Gate(), times=2)), NOW + 600), healthy=False)
    assert gates.decode_gate(msgspec.json.encode(gate)) == gate


@pytest.mark.parametrize("stored", [b"{}", b'{"unknown": [1], "breaker": {"era": 3}}'])
def test_gate_stored_by_another_version_is_read(stored):
    sent(gates.decode_gate(stored))


@pytest.mark.parametrize("stored", [b"", b"\xff", b"[]", b'{"breaker": {"mode": "ajar"}}'])
def test_gate_that_cannot_be_read_starts_afresh_and_slowly(stored):
    assert sent(gates.decode_gate(stored))[1].max_events == 1


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: GatePolicy(batch_max_events=0), "batch_max_events"),
        (lambda: HoldPolicy(default_seconds=0), "default_seconds"),
        (lambda: HoldPolicy(pause_interval_seconds=float("inf")), "pause_interval_seconds"),
    ],
)
def test_gate_policy_with_a_bad_value_names_it(build, field):
    with pytest.raises(PolicyError) as caught:
        build()
    assert caught.value.field == field


def test_gate_longest_wait_covers_all_its_parts():
    policy = GatePolicy(
        breaker=BreakerPolicy(timeout_seconds=5000), hold=HoldPolicy(retry_after_cap_seconds=100)
    )
    assert policy.longest_wait_seconds == 5120
    assert POLICY.longest_wait_seconds == 3605


def test_gate_repr_is_one_line_with_state_and_counts():
    assert repr(failed(Gate(), times=3)) == (
        "<gate waiting (connection refused): 3 failures and 0 holds in a row,"
        " next 1 events, retry at 1750000060>"
    )
    assert repr(Gate()) == "<gate sending: 0 failures and 0 holds in a row, next full batches>"
