"""Errors: one tree, each saying what happened, to what, and what to do; and none lost on the way to another process."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import datetime

import pytest

from streamkit._core import errors
from streamkit._core.errors import StreamkitError

EXAMPLES: list[tuple[StreamkitError, str]] = [
    (errors.InvalidArgument("count must be 1 or more"), "count must be 1 or more"),
    (errors.NaiveDatetime(datetime(2025, 1, 1)), "give it one, for example datetime.now(timezone.utc)"),  # noqa: DTZ001
    (errors.InvalidEntryId("'x' is no entry ID"), "'x' is no entry ID"),
    (
        errors.NotAPartition("a:b", "a", "a:20250101"),
        "'a:b' is no partition of 'a'; its partitions are named like 'a:20250101'",
    ),
    (errors.ReservedFieldName(["a"], ["a", "b*"]), "reserved field names 'a'; rename them (reserved: 'a', 'b*')"),
    (errors.UnsupportedType("list has no text form"), "list has no text form"),
    (
        errors.AppendError("not written", stream="s", appended=3),
        "not written (entries of this call written before it: 3)",
    ),
    (errors.RetentionExceeded("too old", stream="s"), "too old (entries of this call written before it: 0)"),
    (errors.AheadOfTime("too new", stream="s"), "too new"),
    (
        errors.OutOfOrder(stream="s", entry_id="1-0", newest="2-0"),
        'leave out `at`, or give the stream out_of_order="bump"',
    ),
    (errors.AppendUncertain("may have been written", stream="s"), "may have been written"),
    (errors.EncodeError("no fields"), "no fields"),
    (
        errors.DecodeError(stream="s", entry_id="1-0", fields=(b"a", b"1"), reason=ValueError("x")),
        "read it with RawCodec()",
    ),
    (errors.CheckpointError("wrong"), "wrong"),
    (errors.CheckpointConflict("agg"), "another reader has taken over the checkpoint 'agg'; this one stops"),
    (errors.NotEntered("commit()"), "commit() works only inside the reader's with block: `with reader:`"),
    (errors.NotEntered("ack()", "consumer"), "ack() works only inside the consumer's with block: `with consumer:`"),
    (errors.CheckpointMismatch("another stream"), "another stream"),
    (errors.StateError("does not fit"), "does not fit"),
    (errors.UnknownStateFields("unknown"), "unknown"),
    (errors.NewerStateVersion("newer"), "newer"),
    (errors.GroupError("wrong"), "wrong"),
    (
        errors.LeaseLost(stream="s", entry_id="1-0", group="g", owner="peer"),
        "entry 1-0 of 's' is lost to this consumer of group 'g': 'peer' holds it now, and nothing of its step",
    ),
    (errors.EffectFailed(command="INCR", key="n", reason="x", applied=0), "nothing of the step was applied"),
    (
        errors.RedriveFailed("'temps:20250101' does not exist any more", left=2, redriven=5),
        "does not exist any more (dead letters left so: 2; moved by this call: 5)",
    ),
    (errors.ServerError("refused"), "refused"),
    (errors.ServerUnavailable("away"), "away"),
    (
        errors.ServerTooOld("6.2.14", "7.0"),
        "the server is version 6.2.14; streamkit needs Redis 7.0 or Valkey, or newer",
    ),
    (
        errors.WrongKeyType("k", "list", "stream"),
        "the key 'k' holds a list, not a stream; use another name, or delete the key",
    ),
    (errors.PermissionDenied("no"), "no"),
    (errors.CommandFailed("ERR"), "ERR"),
]
CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


def test_every_error_has_an_example_here() -> None:
    assert {type(error) for error, _ in EXAMPLES} == set(CLASSES) - {StreamkitError}


@pytest.mark.parametrize(("error", "words"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES])
class TestEvery:
    def test_error_is_of_the_one_root(self, error: StreamkitError, words: str) -> None:
        assert isinstance(error, StreamkitError)

    def test_error_says_what_to_do(self, error: StreamkitError, words: str) -> None:
        assert words in str(error)

    def test_error_comes_through_pickle_and_copy_as_it_was(self, error: StreamkitError, words: str) -> None:
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is type(error)
            assert str(again) == str(error)
            assert vars(again) == vars(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_drawn_in_the_tree(cls: type) -> None:
    assert cls.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.InvalidArgument, ValueError),
        (errors.UnsupportedType, TypeError),
        (errors.EncodeError, TypeError),
        (errors.ServerUnavailable, ConnectionError),
    ],
)
def test_some_are_what_callers_catch_already(cls: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)


def test_an_append_error_counts_what_was_written_even_when_that_is_learnt_later() -> None:
    error = errors.OutOfOrder(stream="s", entry_id="1-0", newest="2-0")
    error.appended = 7
    assert str(error).endswith("(entries of this call written before it: 7)")


def test_a_lease_that_nobody_holds_any_more_says_so() -> None:
    error = errors.LeaseLost(stream="s", entry_id="1-0", group="g", owner="")
    assert "of group 'g': it is not pending any more, and nothing of its step was applied" in str(error)


def test_what_belongs_to_a_group_speaks_of_no_reader() -> None:
    failed = errors.EffectFailed(command="INCR", key="n", reason="x", applied=2, of_group=True)
    assert str(failed) == "INCR on 'n' failed: x; 2 effects before it were applied"
    outside = errors.NotEntered("read()", "consumer")
    assert str(outside).startswith("read() works only inside the consumer's with block: `with consumer:`")
