"""What a loop tells about itself: nothing, or a line in the log that never shows a payload."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest

from streamkit._core.codecs import undecodable
from streamkit._core.dead_letters import Cause
from streamkit._core.errors import DecodeError, LeaseLost, ServerUnavailable
from streamkit._core.ids import EntryId
from streamkit._core.observers import EntryOfGroup, Gap, GapCause, LateEntries, LoggingObserver, Observer, Position
from streamkit._core.times import from_ms

HERE = Position("temps:20250102", EntryId(1735776000000, 1))
LEFT = Position("temps:20250101", EntryId(5))
ENTRY = EntryOfGroup("orders", "5-1", "billing", "worker-1")
SECRET = "4111-1111"


def gap(lost: int | None, *, exact: bool = False, cause: GapCause = GapCause.TRIMMED) -> Gap:
    return Gap(cause, LEFT, HERE, lost, exact, from_ms(5), from_ms(1735776000000))


def broken() -> DecodeError:
    reason = ValueError(f"cannot read {SECRET}")
    error = undecodable("orders", b"5-1", [b"card", SECRET.encode()], reason)
    error.__cause__ = reason
    return error


EVENTS: dict[str, tuple[Callable[[Observer], None], int, str]] = {
    "on_start": (
        lambda observer: observer.on_start(HERE),
        logging.INFO,
        "reading temps:20250102 from behind 1735776000000-1",
    ),
    "on_waiting": (
        lambda observer: observer.on_waiting(HERE),
        logging.DEBUG,
        "waiting for entries in temps:20250102 behind 1735776000000-1",
    ),
    "on_partition": (
        lambda observer: observer.on_partition(HERE, LEFT),
        logging.INFO,
        "left temps:20250101 at 5-0 for temps:20250102",
    ),
    "on_skip": (
        lambda observer: observer.on_skip("temps:20250103", "temps:20250105"),
        logging.INFO,
        "no data in temps:20250103 to temps:20250105: never written, or deleted",
    ),
    "on_gap": (
        lambda observer: observer.on_gap(gap(12)),
        logging.WARNING,
        (
            "at most 12 entries lost (trimmed) after 5-0 in temps:20250101, between 1970-01-01T00:00:00.005000+00:00 "
            "and 2025-01-02T00:00:00+00:00; going on in temps:20250102"
        ),
    ),
    "on_late": (
        lambda observer: observer.on_late(LateEntries("temps:20250101", EntryId(5), EntryId(7), 2)),
        logging.WARNING,
        "2 entries came to temps:20250101 after it was left at 5-0 (newest 7-0), and are not read; raise grace",
    ),
    "on_dead_letter": (
        lambda observer: observer.on_dead_letter("{agg}:dead-letters", broken()),
        logging.ERROR,
        "entry 5-1 of orders cannot be decoded (ValueError); it goes to {agg}:dead-letters",
    ),
    "on_undecodable": (
        lambda observer: observer.on_undecodable(broken()),
        logging.ERROR,
        "entry 5-1 of orders cannot be decoded (ValueError); passed over",
    ),
    "on_rewound": (
        lambda observer: observer.on_rewound("agg", HERE),
        logging.WARNING,
        "checkpoint agg was deleted or rolled back; reloaded, going on in temps:20250102 behind 1735776000000-1",
    ),
    "on_unavailable": (
        lambda observer: observer.on_unavailable(ServerUnavailable("refused"), 3, 0.256),
        logging.WARNING,
        "server unavailable (refused); try 3 in 0.26 s",
    ),
    "on_available": (lambda observer: observer.on_available(), logging.INFO, "server available again"),
    "on_unsaved": (
        lambda observer: observer.on_unsaved("agg", ServerUnavailable("refused")),
        logging.ERROR,
        "stopped before checkpoint agg could be saved (refused); its last entries will be read again",
    ),
    "on_retry": (
        lambda observer: observer.on_retry(ENTRY, 2, 20.0, ValueError(f"cannot charge {SECRET}")),
        logging.WARNING,
        "attempt 2 at entry 5-1 of orders in group billing failed (ValueError); next one in 20.00 s",
    ),
    "on_buried": (
        lambda observer: observer.on_buried(ENTRY, Cause.EXHAUSTED, "letters", ValueError(f"cannot charge {SECRET}")),
        logging.ERROR,
        "entry 5-1 of orders is dead-lettered by group billing (exhausted: ValueError); it stands in letters",
    ),
    "on_letters_dropped": (
        lambda observer: observer.on_letters_dropped("letters", 12),
        logging.WARNING,
        "letters is full: its 12 oldest dead letters were dropped",
    ),
    "on_lease_lost": (
        lambda observer: observer.on_lease_lost(
            LeaseLost(stream="orders", entry_id="5-1", group="billing", owner="worker-2")
        ),
        logging.WARNING,
        (
            "entry 5-1 of 'orders' is lost to this consumer of group 'billing': 'worker-2' holds it now, and nothing "
            "of its step was applied. Handlers that take longer than min_idle_time without letting the heartbeat run "
            "lose their entries; raise min_idle_time"
        ),
    ),
    "on_shards": (
        lambda observer: observer.on_shards("totals", "a", ["0", "2"]),
        logging.INFO,
        "member a of totals reads the shards 0, 2",
    ),
    "on_claimed": (
        lambda observer: observer.on_claimed("orders", 7),
        logging.INFO,
        "took over 7 pending entries of orders",
    ),
    "on_unread": (
        lambda observer: observer.on_unread("orders", "billing", 12, "1-0", "4-1"),
        logging.ERROR,
        "12 entries of orders between 1-0 and 4-1 were trimmed before group billing was given them",
    ),
    "on_expired_rest": (
        lambda observer: observer.on_expired_rest("temps:20250101", "billing", 12),
        logging.ERROR,
        "temps:20250101 was held past max_hold: its last 12 entries for group billing are dead-lettered",
    ),
    "on_group_missing": (
        lambda observer: observer.on_group_missing("orders", "billing"),
        logging.WARNING,
        "group billing of orders was gone; it is made anew, at the beginning",
    ),
    "on_retired": (
        lambda observer: observer.on_retired("orders", "billing", ["a", "b"]),
        logging.INFO,
        "removed long silent consumers of group billing of orders: a, b",
    ),
    "on_unsettled": (
        lambda observer: observer.on_unsettled(ServerUnavailable("refused")),
        logging.ERROR,
        "stopped before the last entries could be acked (refused); they will be delivered again",
    ),
    "on_eviction_policy": (
        lambda observer: observer.on_eviction_policy("allkeys-lru"),
        logging.WARNING,
        (
            "the server's maxmemory-policy is allkeys-lru: it may evict streams and checkpoints when memory is full; "
            "set it to noeviction"
        ),
    ),
}


def methods(cls: type[Observer]) -> dict[str, Any]:
    return {name: method for name, method in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def test_every_event_is_here() -> None:
    assert set(methods(Observer)) == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
class TestEvery:
    def test_event_is_silence_unless_it_is_overridden(self, event: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        EVENTS[event][0](Observer())
        assert caplog.records == []

    def test_event_is_logged_by_the_default_observer(self, event: str, caplog: pytest.LogCaptureFixture) -> None:
        tell, level, message = EVENTS[event]
        caplog.set_level(logging.DEBUG)
        tell(LoggingObserver())
        assert caplog.record_tuples == [("streamkit", level, message)]

    def test_event_shows_no_payload(self, event: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        EVENTS[event][0](LoggingObserver())
        assert SECRET not in caplog.text


def test_the_logging_observer_misses_no_event() -> None:
    silent = methods(Observer)
    assert all(method is not silent[name] for name, method in methods(LoggingObserver).items())


def test_policies_that_evict_partitions_first_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    LoggingObserver().on_eviction_policy("volatile-ttl")
    assert "when memory is full, and partitions first, since they expire; set it to noeviction" in caplog.text


def test_what_is_buried_without_an_error_is_told_by_its_cause_alone(caplog: pytest.LogCaptureFixture) -> None:
    LoggingObserver().on_buried(ENTRY, Cause.ABANDONED, "letters", None)
    assert "is dead-lettered by group billing (abandoned); it stands in letters" in caplog.text


@pytest.mark.parametrize(
    ("lost", "exact", "amount"),
    [
        (12, True, "12 entries"),
        (12, False, "at most 12 entries"),
        (1, True, "1 entry"),
        (1, False, "at most 1 entry"),
        (None, False, "possibly entries"),
    ],
)
def test_a_loss_is_put_in_words(lost: int | None, exact: bool, amount: str) -> None:  # noqa: FBT001 - a table
    assert gap(lost, exact=exact).amount == amount


@pytest.mark.parametrize("cause", GapCause)
def test_every_cause_has_a_word(cause: GapCause, caplog: pytest.LogCaptureFixture) -> None:
    LoggingObserver().on_gap(gap(None, cause=cause))
    assert f"possibly entries lost ({cause.value}) after" in caplog.text
