# Generated from tests/integration/asyncio/test_reader_state.py by tools/generate_sync.py: do not edit.
"""A reader's state: what is kept, how people read it, and how programs change its shape."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
import redis

from streamkit import (
    CheckpointConflict,
    CheckpointedReader,
    InvalidArgument,
    NewerStateVersion,
    PartitionedStream,
    ReservedFieldName,
    StateError,
    UnknownStateFields,
    UnsupportedType,
)
from tests.integration._sync._readers import (
    MONTH_OF_DAYS,
    Reader,
    entries_in,
    key_of,
    midnight,
    raw,
    read,
    take,
    write,
)

pytestmark = pytest.mark.usefixtures("short_waits")

FENCE = {b"streamkit:token", b"streamkit:sequence"}
CLOCK = b"streamkit:seen"


class Color(enum.Enum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Hourly:
    """The state of the example in the README."""

    current_hourly_total: float = 0.0
    current_hourly_count: int = 0


@dataclass
class Everything:
    """Every type a state can have."""

    text: str = ""
    count: int = 0
    ratio: float = 0.0
    open: bool = False
    raw: bytes = b""
    price: Decimal = Decimal(0)
    since: datetime = datetime(2025, 1, 1, tzinfo=timezone.utc)
    color: Color = Color.RED
    hour: int | None = 7


@dataclass(frozen=True)
class Frozen:
    """A state that is assigned, not changed."""

    seen: int = 0


@dataclass
class Renamed:
    """The second version of a state."""

    total: int = 0
    unit: str = field(default="F")


def visible(client: redis.Redis, key: str) -> dict[bytes, bytes]:
    """The hash but for the fence and the clock, whose values are chance."""
    fields: dict[bytes, bytes] = raw(client).hgetall(key)
    assert set(fields) >= FENCE
    return {name: value for name, value in fields.items() if name not in {*FENCE, CLOCK}}


def test_the_hash_is_for_people_to_read(client: redis.Redis, name: str) -> None:
    ids = write(client, name, 41, 43)
    reader = CheckpointedReader(client, name, f"{name}:c", state=Hourly(), follow=False)
    with reader:
        for entry in reader:
            reader.state.current_hourly_total += float(entry.value["n"])
            reader.state.current_hourly_count += 1
    assert visible(client, f"{name}:c") == {
        b"current_stream_key": name.encode(),
        b"last_message_id": str(ids[1]).encode(),
        b"current_hourly_total": b"84.0",
        b"current_hourly_count": b"2",
        b"streamkit:state_version": b"1",
        b"streamkit:entries_read": b"2",
    }


def test_without_a_state_it_is_the_position_alone(client: redis.Redis, name: str) -> None:
    ids = write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    assert read(reader) == [1]
    assert reader.state is None
    assert visible(client, f"{name}:c") == {
        b"current_stream_key": name.encode(),
        b"last_message_id": str(ids[0]).encode(),
        b"streamkit:entries_read": b"1",
    }


def test_of_partitions_it_remembers_the_one_left_last(client: redis.Redis, name: str) -> None:
    first, second = key_of(name, midnight(-3)), key_of(name, midnight(-2))
    left = (write(client, first, 1, 2, at=midnight(-3)))[1]
    last = (write(client, second, 3, at=midnight(-2)))[0]
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS)
    assert read(CheckpointedReader(client, source, f"{name}:c", follow=False)) == [1, 2, 3]
    fields = visible(client, f"{name}:c")
    assert fields[b"current_stream_key"] == second.encode()
    assert fields[b"last_message_id"] == str(last).encode()
    assert {field for field in fields if not field.startswith(b"streamkit:")} == {
        b"current_stream_key",
        b"last_message_id",
    }
    assert fields[b"streamkit:left"].decode().split() == [str(left), "2", first]


def test_a_dataclass_comes_back_as_it_was(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    state = Everything(
        text="Grüße\n",
        count=-3,
        ratio=0.1,
        open=True,
        raw=b"\x00\xff",
        price=Decimal("0.10"),
        since=datetime(2025, 6, 1, 12, 30, 0, 5, tzinfo=timezone(timedelta(hours=2))),
        color=Color.BLUE,
        hour=None,
    )
    reader = CheckpointedReader(client, name, f"{name}:c", state=Everything(), follow=False)
    with reader:
        assert reader.state == Everything()
        for _ in reader:
            reader.state = state
    with reader:
        assert reader.state == state


def test_a_flat_dict_comes_back_as_it_was(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    initial = {"count": 0, "total": 0.0, "unit": "F", "open": True}
    reader = CheckpointedReader(client, name, f"{name}:c", state=initial, follow=False)
    with reader:
        for entry in reader:
            reader.state["count"] = int(entry.value["n"])
            reader.state["total"] = 1.5
            reader.state["open"] = False
    with reader:
        assert reader.state == {"count": 2, "total": 1.5, "unit": "F", "open": False}


def test_none_in_a_dict_is_there_from_the_first_entry_on(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", state={"hour": None, "count": 0}, follow=False)
    for _ in range(2):
        with reader:
            assert reader.state == {"hour": None, "count": 0}


def test_an_empty_dict_takes_fields_as_they_come(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", state=dict[str, str](), follow=False)
    with reader:
        for entry in reader:
            reader.state[f"seen_{entry.value['n']}"] = "yes"
            reader.state.pop("seen_1", None) if entry.value["n"] == "2" else None
    assert (visible(client, f"{name}:c"))[b"seen_2"] == b"yes"
    with reader:
        assert reader.state == {"seen_2": "yes"}


def test_a_field_that_went_is_deleted_from_the_hash(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    reader = CheckpointedReader(
        client, name, f"{name}:c", state=dict[str, str](), commit_interval=timedelta(0), follow=False
    )
    with reader:
        for entry in reader:
            if entry.value["n"] == "1":
                reader.state["hour"] = "7"
            else:
                assert (visible(client, f"{name}:c"))[b"hour"] == b"7"
                del reader.state["hour"]
    assert b"hour" not in visible(client, f"{name}:c")


def test_the_callers_own_state_is_left_alone(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    mine, counts = Hourly(), {"seen": 0}
    for state in (mine, counts):
        reader: Reader = CheckpointedReader(client, name, f"{name}:c", state=state, follow=False)
        with reader:
            for _ in reader:
                if state is mine:
                    reader.state.current_hourly_count += 1
                else:
                    reader.state["seen"] += 1
        reader.reset()
    assert mine == Hourly()
    assert counts == {"seen": 0}


def test_a_frozen_state_is_assigned(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", state=Frozen(), follow=False)
    with reader:
        for _ in reader:
            reader.state = replace(reader.state, seen=reader.state.seen + 1)
    saved = reader.saved()
    assert saved is not None
    assert saved.state == Frozen(2)


def test_state_and_position_of_one_checkpoint_belong_together(client: redis.Redis, name: str) -> None:
    write(client, name, *range(1, 8))
    reader = CheckpointedReader(client, name, f"{name}:c", count=3, state={"last": 0}, follow=False)
    with reader:
        for entry in reader:
            reader.state["last"] = int(entry.value["n"])
            saved = reader.saved()
            assert saved is not None
            before = [entry_id for entry_id, _ in entries_in(client, name) if entry_id <= saved.position.id]
            assert saved.state == {"last": len(before)}


def test_saved_with_the_first_position_is_the_state_to_begin_with(client: redis.Redis, name: str) -> None:
    reader = CheckpointedReader(client, name, f"{name}:c", state=Hourly(3.5, 2), follow=False)
    with reader:
        saved = reader.saved()
    assert saved is not None
    assert saved.state == Hourly(3.5, 2)


def saved_in_version_1(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", state={"sum": 5}, follow=False)
    assert read(reader) == [1]


def test_an_older_version_is_migrated(client: redis.Redis, name: str) -> None:
    saved_in_version_1(client, name)
    asked = list[tuple[Mapping[str, str], int]]()

    def migrate(fields: dict[str, str], version: int) -> Mapping[str, str]:
        asked.append((dict(fields), version))
        return {"total": fields["sum"], "unit": "C"}

    reader = CheckpointedReader(
        client, name, f"{name}:c", state=Renamed(), state_version=2, migrate=migrate, follow=False
    )
    write(client, name, 2)
    with reader:
        assert reader.state == Renamed(5, "C")
        for entry in reader:
            reader.state.total += int(entry.value["n"])
    assert asked
    assert set(map(str, asked)) == {str(({"sum": "5"}, 1))}
    fields = visible(client, f"{name}:c")
    assert fields[b"total"] == b"7"
    assert fields[b"unit"] == b"C"
    assert fields[b"streamkit:state_version"] == b"2"
    assert b"sum" not in fields


def test_an_older_version_without_a_migration_says_what_to_give(client: redis.Redis, name: str) -> None:
    saved_in_version_1(client, name)
    reader = CheckpointedReader(client, name, f"{name}:c", state=Renamed(), state_version=2, follow=False)
    with pytest.raises(StateError, match="version 1, this program's is 2; give migrate="):
        read(reader)


def test_a_newer_version_is_refused_and_not_taken_over(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    newer = CheckpointedReader(client, name, f"{name}:c", state=Renamed(), state_version=3)
    older = CheckpointedReader(client, name, f"{name}:c", state=Renamed(), state_version=2)
    with newer:
        with pytest.raises(NewerStateVersion, match="version 3, this program knows only 2; run the newer program"):
            read(older)
        with pytest.raises(NewerStateVersion):
            older.saved()
        for _ in newer:
            newer.stop()
    saved = newer.saved()
    assert saved is not None


def test_unknown_fields_are_refused_by_name(client: redis.Redis, name: str) -> None:
    saved_in_version_1(client, name)
    reader = CheckpointedReader(client, name, f"{name}:c", state=Renamed(), follow=False)
    with pytest.raises(UnknownStateFields, match=r"'sum'.*raise state_version and give migrate=, or reset"):
        read(reader)
    before = client.hgetall(f"{name}:c")
    with pytest.raises(UnknownStateFields, match="'sum'"):
        read(CheckpointedReader(client, name, f"{name}:c", follow=False))
    assert client.hgetall(f"{name}:c") == before
    reader.reset()
    assert read(reader) == [1]


def test_a_new_field_of_a_dataclass_has_its_default(client: redis.Redis, name: str) -> None:
    saved_in_version_1(client, name)

    @dataclass
    class Wider:
        sum: int = 0
        since: int = 9

    with CheckpointedReader(client, name, f"{name}:c", state=Wider(), follow=False) as reader:
        assert reader.state == Wider(5, 9)


def test_a_field_that_does_not_read_as_its_type_names_the_checkpoint(client: redis.Redis, name: str) -> None:
    saved_in_version_1(client, name)
    client.hset(f"{name}:c", "sum", "many")
    with pytest.raises(StateError, match=f"{name}:c.*HGETALL shows it.*reset"):
        read(CheckpointedReader(client, name, f"{name}:c", state={"sum": 5}, follow=False))


def test_a_position_that_does_not_read_as_one_names_the_checkpoint(client: redis.Redis, name: str) -> None:
    saved_in_version_1(client, name)
    client.hset(f"{name}:c", "last_message_id", "yesterday")
    with pytest.raises(StateError, match=f"{name}:c.*yesterday.*mend it by hand, or reset"):
        read(CheckpointedReader(client, name, f"{name}:c", state={"sum": 5}, follow=False))


def test_a_position_set_by_hand_is_gone_on_from(client: redis.Redis, name: str) -> None:
    ids = write(client, name, 1, 2, 3)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    client.hset(f"{name}:c", mapping={"current_stream_key": name, "last_message_id": str(ids[0])})
    assert read(reader) == [2, 3]
    client.hset(f"{name}:c", "last_message_id", str(ids[1]))
    assert read(reader) == [3]


@pytest.mark.parametrize("field_name", ["current_stream_key", "last_message_id", "streamkit:mine"])
def test_reserved_names_are_refused(client: redis.Redis, name: str, field_name: str) -> None:
    with pytest.raises(ReservedFieldName, match=f"'{field_name}'; rename them"):
        CheckpointedReader(client, name, f"{name}:c", state={field_name: "x"})
    write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", state=dict[str, str](), follow=False)

    def use_it() -> None:
        with reader:
            for _ in reader:
                reader.state[field_name] = "x"

    before = reader.saved()
    assert before is None
    with pytest.raises(ReservedFieldName, match=f"'{field_name}'"):
        use_it()
    fields = visible(client, f"{name}:c")
    assert fields[b"last_message_id"] == b"0-0"


def test_a_reserved_name_in_a_dataclass_is_refused(client: redis.Redis, name: str) -> None:
    @dataclass
    class Mine:
        last_message_id: str = ""

    with pytest.raises(ReservedFieldName, match="'last_message_id'"):
        CheckpointedReader(client, name, f"{name}:c", state=Mine())


def test_what_is_no_state_is_refused(client: redis.Redis, name: str) -> None:
    for state in ([1], "text", Hourly):
        with pytest.raises(InvalidArgument, match="a dataclass instance, a flat dict or None"):
            CheckpointedReader(client, name, f"{name}:c", state=state)
    for nested in ({"list": [1]}, {"dict": dict[str, str]()}):
        with pytest.raises(UnsupportedType, match=r"cannot be written as text|has no text form"):
            CheckpointedReader(client, name, f"{name}:c", state=nested)
    with pytest.raises(InvalidArgument, match="state_version must be 1 or more"):
        CheckpointedReader(client, name, f"{name}:c", state=Hourly(), state_version=0)


def test_a_value_without_text_form_ends_the_loop_and_saves_nothing(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", state={"x": 0}, follow=False)

    def spoil() -> None:
        with reader:
            for entry in reader:
                reader.emit(f"{name}:out", entry.value)
                reader.state["x"] = object()

    with pytest.raises(UnsupportedType, match="object cannot be written as text"):
        spoil()
    assert client.exists(f"{name}:out") == 0
    assert (visible(client, f"{name}:c"))[b"last_message_id"] == b"0-0"


def test_a_large_state_is_saved_whole_or_refused_before_anything_is_written(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    for size in (900, 5000, 100_000):
        reader = CheckpointedReader(client, name, f"{name}:c", state=dict[str, str](), follow=False)

        def grow(reader: Reader = reader, size: int = size) -> None:
            with reader:
                for entry in reader:
                    reader.emit(f"{name}:out", entry.value)
                    reader.state = {f"sensor_{number}": "1" for number in range(size)}

        saved = True
        try:
            grow()
        except InvalidArgument:
            saved = False
        assert client.xlen(f"{name}:out") == (1 if saved else 0)
        assert saved or size > 900
        with reader:
            assert len(reader.state) == (size if saved else 0)
        client.delete(f"{name}:c", f"{name}:out")


def test_a_conflict_leaves_the_others_state_alone(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    first = CheckpointedReader(client, name, f"{name}:c", state={"by": "nobody"}, follow=False)
    second = CheckpointedReader(client, name, f"{name}:c", state={"by": "nobody"})

    def overtaken() -> None:
        with first:
            for _ in first:
                first.state["by"] = "first"
                with second:
                    second.state["by"] = "second"
                    second.commit()

    with pytest.raises(CheckpointConflict, match="another reader has taken over"):
        overtaken()
    saved = second.saved()
    assert saved is not None
    assert saved.state == {"by": "second"}
    assert take(second, 2) == [1, 2]
