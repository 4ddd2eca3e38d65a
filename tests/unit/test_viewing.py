"""A live view: which keys are looked at, when a partition is left, where a view begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from streamkit._core.following import Start
from streamkit._core.ids import LARGEST, ZERO, EntryId
from streamkit._core.periods import PROBES, Partitioning, Period
from streamkit._core.times import to_ms
from streamkit._core.viewing import AHEAD, GRACE_MS, View

DAY = 86_400_000
TEMPS = Partitioning.of("temps", Period.DAY, timedelta(days=5), timedelta(days=1))
HOURS = Partitioning.of("temps", Period.HOUR, timedelta(days=5), timedelta(hours=250))
NEW = Start(new=True)


def at(day: int, ms: int = 0) -> int:
    """A moment of January 2025."""
    return to_ms(datetime(2025, 1, 1, tzinfo=timezone.utc)) + (day - 1) * DAY + ms


def view(start: Start, now: int, partitioning: Partitioning | None = TEMPS) -> View:
    return View("temps", partitioning, start, now)


def days(keys: Sequence[str]) -> list[str]:
    return [key.removeprefix("temps:202501") for key in keys]


# A single key -------------------------------------------------------------------------------------------------------


def test_a_single_key_is_all_there_is() -> None:
    single = view(NEW, at(1), None)
    assert single.living(at(1)) == single.keys(at(1)) == ("temps",)
    assert single.current(at(1)) == ("temps", None)
    single.leave(at(9), ["temps"])
    single.go_to(None, at(9))
    assert not single.over(at(9))
    assert list(single.search(at(9))) == []
    assert single.keys(at(9)) == ("temps",)


def test_it_is_read_on_behind_the_last_entry() -> None:
    single = view(Start(), 0, None)
    assert single.behind("temps") == ZERO
    single.took("temps", EntryId(5))
    assert single.behind("temps") == EntryId(5)


def test_a_start_is_included_in_every_key() -> None:
    assert view(Start(at=EntryId(5)), 0, None).behind("temps") == EntryId(4, LARGEST)
    assert view(Start(at=EntryId(at(3), 2)), at(3)).behind("temps:20250107") == EntryId(at(3), 1)


def test_a_key_made_anew_is_begun_anew_once() -> None:
    single = view(Start(at=EntryId(9)), 0, None)
    # Nothing was read yet: the start may well lie ahead of what there is.
    assert not single.made_anew("temps", EntryId(3))
    single.took("temps", EntryId(12))
    assert not single.made_anew("temps", EntryId(12))
    assert single.made_anew("temps", EntryId(3))
    assert single.behind("temps") == ZERO
    assert not single.made_anew("temps", EntryId(3))


# Partitions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "now", "keys"),
    [
        (NEW, at(3, 12 * 3_600_000), ["03", "04"]),
        (NEW, at(3, GRACE_MS), ["03", "04"]),
        (NEW, at(3, GRACE_MS - 1), ["02", "03", "04"]),
        (Start(at=EntryId(at(3, 5))), at(3, DAY // 2), ["03", "04"]),
        (Start(key="temps:20250103"), at(3, DAY // 2), ["03", "04"]),
        # Over: alone, until it is found empty.
        (Start(at=EntryId(at(1, 5))), at(3, DAY // 2), ["01"]),
        (Start(key="temps:20250101"), at(3, DAY // 2), ["01"]),
        (Start(), at(9, DAY // 2), ["03"]),
        # Ahead of its time.
        (Start(at=EntryId(at(5))), at(3, DAY // 2), ["05", "06"]),
    ],
)
def test_what_is_looked_at_first(start: Start, now: int, keys: list[str]) -> None:
    found = days(view(start, now).keys(now))
    # The horizon ends a day later than entries may be dated ahead.
    assert found == keys + ([] if len(keys) == 1 or start.at == EntryId(at(5)) else ["05"])


def test_the_current_partition_is_the_one_that_the_clock_says() -> None:
    assert view(NEW, at(3)).current(at(3)) == ("temps:20250103", DAY)
    assert view(NEW, at(3)).current(at(4) - 100) == ("temps:20250103", 100)
    assert view(NEW, at(3)).current(at(4)) == ("temps:20250104", DAY)
    assert view(Start(key="temps:20250106"), at(3)).current(at(3)) == ("temps:20250106", 4 * DAY)


def test_everything_that_may_still_get_entries_is_living() -> None:
    now = at(3, 1)
    assert days(view(NEW, now).living(now)) == ["02", "03", "04", "05"]
    assert days(view(Start(key="temps:20250104"), now).living(now)) == ["04", "05"]
    assert days(view(Start(key="temps:20250109"), now).living(now)) == ["09"]


def test_a_partition_is_left_when_it_was_empty_after_the_grace() -> None:
    live = view(NEW, at(3))
    live.took("temps:20250102", EntryId(at(2)))
    live.leave(at(3, GRACE_MS - 1), ["temps:20250102", "temps:20250103"])
    assert days(live.keys(at(3, GRACE_MS - 1)))[0] == "02"
    live.leave(at(3, GRACE_MS), ["temps:20250103"])
    assert live.over(at(3, GRACE_MS))
    assert days(live.keys(at(3, GRACE_MS))) == ["02"]
    live.leave(at(3, GRACE_MS), ["temps:20250102"])
    assert not live.over(at(3, GRACE_MS))
    assert days(live.keys(at(3, GRACE_MS))) == ["03", "04", "05"]
    assert live.behind("temps:20250102") == ZERO  # forgotten


def test_the_next_one_that_is_over_is_searched_for() -> None:
    past = view(Start(key="temps:20250101"), at(9, DAY // 2))
    past.leave(at(9, DAY // 2), ["temps:20250101"])
    assert past.over(at(9, DAY // 2))
    assert [days(block) for block in past.search(at(9, DAY // 2))] == [["02", "03", "04", "05", "06", "07", "08"]]
    past.go_to("temps:20250105", at(9, DAY // 2))
    assert days(past.keys(at(9, DAY // 2))) == ["05"]
    past.go_to(None, at(9, DAY // 2))
    assert days(past.keys(at(9, DAY // 2))) == ["09", "10", "11"]


def test_several_are_left_at_once() -> None:
    live = view(NEW, at(3))
    live.leave(at(5, DAY // 2), ["temps:20250102", "temps:20250103", "temps:20250104"])
    assert not live.over(at(5, DAY // 2))
    assert days(live.keys(at(5, DAY // 2)))[0] == "05"


def test_a_start_far_back_begins_at_the_latest_names() -> None:
    seconds = Partitioning.of(
        "s", Period("SECOND", "%Y%m%d%H%M%S", timedelta(seconds=1)), timedelta(minutes=1), timedelta(0)
    )
    far = View("s", seconds, Start(at=EntryId(1)), at(3))
    (key,) = far.keys(at(3))
    assert key == seconds.at(at(3) - (PROBES - 1) * 1000).key


def test_many_partitions_ahead_are_looked_at_in_turn() -> None:
    live = View("temps", HOURS, NEW, at(3))
    looks = [live.keys(at(3, GRACE_MS - 1)) for _ in range(4)]
    # Yesterday's last is not over yet; the current one and the next are always among them.
    near = ["temps:2025010223", "temps:2025010300", "temps:2025010301"]
    assert all(list(look[:3]) == near for look in looks)
    assert [len(look) for look in looks] == [3 + AHEAD, 3 + AHEAD, 3 + 50, 3 + AHEAD]
    assert looks[3] == looks[0]
    ahead = [key for look in looks[:3] for key in look[3:]]
    assert len(set(ahead)) == len(ahead) == 250
    later = live.keys(at(12, DAY // 2))
    assert later[0] == "temps:2025010223"
