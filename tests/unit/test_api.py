"""What the package offers: the same names in both halves, and value types that both share."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import streamkit
import streamkit.asyncio
from streamkit._core import errors

OWN_IN_EACH_HALF = {
    "Appendable",
    "CappedStream",
    "CheckpointedReader",
    "DeadLetterQueue",
    "Delivery",
    "GroupConsumer",
    "PartitionedStream",
    "Replayer",
    "ShardedReader",
    "ShardedStream",
    "Source",
    "Stream",
    "once",
}
HALVES = pytest.mark.parametrize("half", [streamkit, streamkit.asyncio], ids=["sync", "asyncio"])


def test_both_halves_offer_the_same_names() -> None:
    assert streamkit.__all__ == streamkit.asyncio.__all__


@HALVES
def test_every_name_is_there_once(half: ModuleType) -> None:
    names: list[str] = half.__all__
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(half, name)] == []


@HALVES
def test_nothing_public_is_left_out(half: ModuleType) -> None:
    public = {name for name, value in vars(half).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public - {"annotations"} == set(half.__all__)


def test_what_does_no_io_is_shared_and_what_does_is_not() -> None:
    differing = {name for name in streamkit.__all__ if getattr(streamkit, name) is not getattr(streamkit.asyncio, name)}
    assert differing == OWN_IN_EACH_HALF


def test_every_error_can_be_caught_by_name() -> None:
    raised = {name for name, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__}
    assert raised <= set(streamkit.__all__)


@HALVES
@pytest.mark.parametrize("name", sorted(OWN_IN_EACH_HALF))
def test_the_classes_of_both_halves_have_the_same_methods(half: ModuleType, name: str) -> None:
    def public(cls: type) -> set[str]:
        return {method for method in dir(cls) if not method.startswith("_")}

    assert public(getattr(half, name)) == public(getattr(streamkit, name))
