"""Effects: everything about an entry or command of a step that can be wrong is found when it is asked for."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Any

import pytest

from streamkit._core import effects
from streamkit._core.appends import Target
from streamkit._core.effects import KEY_TYPES, MOST_WORDS, Emit, Execute
from streamkit._core.errors import EffectFailed, EncodeError, InvalidArgument, PermissionDenied
from streamkit._core.periods import Partitioning, Period
from streamkit._core.protocol import Scalar
from streamkit._core.trimming import Trimming

TEMPS = Partitioning.of("temps", Period.DAY, timedelta(days=2), timedelta(days=1))
DAY = 86_400_000


def temps_at(ms: int) -> Target:
    partition = TEMPS.at(ms)
    return Target(partition.key, partition, TEMPS)


class Level(enum.IntEnum):
    LOW = 1


class TestEmit:
    def test_is_passed_to_the_script_with_its_stream(self) -> None:
        fields: dict[str, Scalar] = {"hour": "5", "temp": 41.5}
        emit = effects.emit(Target("averages", trimming=Trimming(maxlen=120)), "*", fields)
        assert emit.words(2) == [
            *("emit", 2, "*", ""),
            *("", "", "", ""),
            *("MAXLEN", "~", 120, ""),
            *(4, "hour", "5", "temp", 41.5),
        ]
        assert (emit.key, emit.command) == ("averages", "XADD")

    def test_carries_partition_and_bumping(self) -> None:
        target = Target("temps:19700102", TEMPS.at(DAY), TEMPS, bump=True)
        words = effects.emit(target, f"{DAY}-*", {"a": 1}).words(1)
        assert words[:8] == ["emit", 1, f"{DAY}-*", "bump", DAY, 2 * DAY, 2 * DAY, DAY]

    def test_knows_its_size(self) -> None:
        fields: dict[str, Scalar] = {"ab": "é", "c": 10, "d": b"xyz"}
        assert effects.emit(Target("s"), "*", fields).size == 2 + 2 + 1 + 2 + 1 + 3

    @pytest.mark.parametrize("fields", [{}, {"a": None}, {"a": True}, {1: "a"}, {"a": "\ud800"}, {"a": []}])
    def test_refuses_what_redis_cannot_store(self, fields: Any) -> None:
        with pytest.raises(EncodeError, match="'s'"):
            effects.emit(Target("s"), "*", fields)

    def test_writes_numbers_of_subclasses_as_numbers(self) -> None:
        assert effects.emit(Target("s"), "*", {"a": Level.LOW}).fields == ("a", b"1")

    def test_moves_with_the_servers_clock_to_the_partition_of_the_moment(self) -> None:
        emit = effects.emit(temps_at(0), "*", {"a": 1})
        moved = emit.moved(3 * DAY)
        assert moved.key == "temps:19700104"
        assert moved.target.partition == TEMPS.at(3 * DAY)
        assert (moved.fields, moved.entry_id) == (emit.fields, "*")

    def test_stays_where_its_time_puts_it(self) -> None:
        emit = effects.emit(temps_at(0), "5-*", {"a": 1})
        assert emit.moved(3 * DAY) is emit

    def test_stays_in_a_stream_without_partitions(self) -> None:
        emit = effects.emit(Target("s"), "*", {"a": 1})
        assert emit.moved(3 * DAY) is emit


class TestExecute:
    @pytest.mark.parametrize("name", ["HINCRBY", "hincrby", b"hIncrBy"])
    def test_is_passed_to_the_script_with_the_type_its_key_needs(self, name: str | bytes) -> None:
        execute = effects.execute((name, "totals", "seen", 1))
        assert execute.words(3) == ["execute", 3, "hash", 4, name, "totals", "seen", 1]
        assert (execute.command, execute.key) == ("HINCRBY", "totals")

    def test_takes_a_key_of_any_scalar_type(self) -> None:
        assert effects.execute(("SET", b"k", 1)).key == "k"
        assert effects.execute(("SET", 5, 1)).key == "5"

    def test_asks_no_type_for_commands_that_take_any(self) -> None:
        assert effects.execute(("SET", "k", "v")).words(1)[2] == ""
        assert effects.execute(("JSON.SET", "k", "$", "1")).words(1)[2] == ""

    def test_knows_its_size_and_stays_where_it_is(self) -> None:
        execute = effects.execute(("SET", "é", 10))
        assert execute.size == 3 + 2 + 2
        assert execute.moved(5) is execute

    @pytest.mark.parametrize("command", [(), ("PING",), ("FLUSHALL",)])
    def test_refuses_a_command_without_key(self, command: tuple[str, ...]) -> None:
        with pytest.raises(InvalidArgument, match=r"execute\(\) takes a command's name, its key and its arguments"):
            effects.execute(command)

    @pytest.mark.parametrize(
        "name", ["MULTI", "exec", "EVAL", "EvalSha", "BLPOP", "XREAD", "MSET", "RENAME", "PUBLISH"]
    )
    def test_refuses_what_blocks_takes_other_keys_or_none_however_it_is_written(self, name: str) -> None:
        for written in (name, name.encode()):
            with pytest.raises(InvalidArgument, match=rf"{name.upper()} cannot be part of a step.*your own client"):
                effects.execute((written, "k", "1"))

    @pytest.mark.parametrize("name", ["DEL", "unlink", "TOUCH"])
    def test_refuses_several_keys_where_one_will_do(self, name: str) -> None:
        assert effects.execute((name, "k")).key == "k"
        with pytest.raises(InvalidArgument, match="only commands that write one key"):
            effects.execute((name, "k", "other"))

    @pytest.mark.parametrize("word", [None, True, [], {}, object(), bytearray(b"x")])
    def test_refuses_what_redis_does_not_take(self, word: Any) -> None:
        with pytest.raises(
            EncodeError, match=r"'SET' has the argument .*; Redis takes str, bytes, int and float: convert it"
        ):
            effects.execute(("SET", "k", word))

    @pytest.mark.parametrize(
        "command",
        [("SET", "k", "\ud800"), ("SET", "\ud800", "v"), ("\ud800", "k"), ("SET", b"\xff", "v"), (b"\xff", "k")],
    )
    def test_refuses_text_that_is_none(self, command: Any) -> None:
        with pytest.raises(EncodeError):
            effects.execute(command)

    def test_refuses_more_words_than_a_script_can_pass_on(self) -> None:
        assert effects.execute(("RPUSH", "k", *["x"] * (MOST_WORDS - 2))).command == "RPUSH"
        with pytest.raises(InvalidArgument, match=f"too long for a step; .* {MOST_WORDS} at most"):
            effects.execute(("RPUSH", "k", *["x"] * (MOST_WORDS - 1)))

    def test_writes_numbers_of_subclasses_as_numbers(self) -> None:
        assert effects.execute(("INCRBY", "k", Level.LOW)).words(1)[-1] == b"1"


def test_no_command_is_both_known_and_refused() -> None:
    assert not set(KEY_TYPES) & effects._REFUSED
    assert all(name == name.upper() for name in (*KEY_TYPES, *effects._REFUSED))
    assert set(KEY_TYPES.values()) == {"hash", "list", "set", "zset", "stream", "string", ""}


def test_all_effects_of_a_step_point_to_the_keys_of_the_script() -> None:
    both: list[Emit | Execute] = [
        effects.emit(Target("b"), "*", {"x": 1}),
        effects.execute(("INCR", "a")),
        effects.emit(Target("b"), "*", {"x": 2}),
    ]
    words = effects.script_words(both, ("a", "b"))
    assert words[0] == 3
    assert words[1:] == [*both[0].words(2), *both[1].words(1), *both[2].words(2)]
    assert effects.script_words([], ()) == [0]


class TestFailure:
    EFFECTS: tuple[Emit | Execute, ...] = (
        effects.emit(Target("out"), "*", {"x": 1}),
        effects.execute(("hincrby", "totals", "n", "x")),
    )

    def test_names_command_key_and_reason_and_that_nothing_was_applied(self) -> None:
        error = effects.failure(self.EFFECTS, 1, 0, "WRONGTYPE it holds a list, not a stream")
        assert isinstance(error, EffectFailed)
        assert (error.command, error.key, error.applied) == ("XADD", "out", 0)
        assert str(error) == (
            "XADD on 'out' failed: WRONGTYPE it holds a list, not a stream; nothing of the step was applied, "
            "and the checkpoint was not moved"
        )

    def test_says_how_many_effects_were_applied_before_it(self) -> None:
        error = effects.failure(self.EFFECTS, 2, 1, "ERR value is not an integer")
        assert isinstance(error, EffectFailed)
        assert (error.command, error.key, error.applied) == ("HINCRBY", "totals", 1)
        assert "1 effects before it were applied" in str(error)

    def test_a_right_that_is_missing_is_no_fault_of_the_effect(self) -> None:
        error = effects.failure(self.EFFECTS, 2, 0, "NOPERM the user may not run HINCRBY")
        assert isinstance(error, PermissionDenied)
        assert str(error) == (
            "the server refused HINCRBY on 'totals', an effect: NOPERM the user may not run HINCRBY; nothing of the "
            "step was applied; grant the user this command and its keys"
        )
