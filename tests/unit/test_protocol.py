"""Commands on the wire: packed by hand exactly as hiredis packs them."""

from __future__ import annotations

import enum
import sys
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit._core import protocol
from streamkit._core.protocol import SCALARS, Scalar, pack_python, plain, storable, to_bytes

SCALAR = st.text() | st.binary() | st.integers() | st.floats()


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):
    YES = "yes"


class Reading(float):
    """As numpy.float64 is one: a float that shows itself in its own way."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Reading({float(self)})"


@given(st.lists(SCALAR, min_size=1).map(tuple))
@example(("SET", "ключ", b"\x00\r\n\xff", -1, 0.1, 1e22, 2**70, float("inf"), -0.0, ""))
def test_packing_by_hand_and_by_hiredis_is_the_same(command: tuple[Scalar, ...]) -> None:
    hiredis = pytest.importorskip("hiredis")
    assert pack_python(command) == hiredis.pack_command(command)


def test_a_packed_command_to_check_by_hand() -> None:
    assert (
        pack_python(("GET", "é", b"\r\n", 5, 1.5))
        == b"*5\r\n$3\r\nGET\r\n$2\r\n\xc3\xa9\r\n$2\r\n\r\n\r\n$1\r\n5\r\n$3\r\n1.5\r\n"
    )


@given(st.floats(allow_nan=False) | st.integers())
def test_numbers_read_back_as_they_were(number: float) -> None:
    assert type(number)(to_bytes(number)) == number


@pytest.mark.parametrize(
    ("value", "stored"), [("é", b"\xc3\xa9"), (b"\xff", b"\xff"), (7, b"7"), (0.1, b"0.1"), (Word.YES, b"yes")]
)
def test_a_value_is_stored_as_redis_would_show_it(value: Scalar, stored: bytes) -> None:
    assert to_bytes(value) == stored


@pytest.mark.parametrize(("value", "stored"), [(Level.LOW, b"1"), (Reading(1.5), b"1.5")])
def test_a_number_of_a_subclass_is_stored_as_the_number(value: Scalar, stored: bytes) -> None:
    assert storable(value)
    assert to_bytes(value) == stored
    assert pack_python((value,)) == b"*1\r\n$%d\r\n%s\r\n" % (len(stored), stored)
    assert type(plain(value)) in SCALARS
    assert protocol.pack((plain(value),)) == pack_python((value,))


@pytest.mark.parametrize("value", ["x", b"x", 1, 1.5])
def test_a_value_of_the_four_types_stays_itself(value: Scalar) -> None:
    assert plain(value) is value


@pytest.mark.parametrize("value", [True, False, None, [], {}, object(), bytearray(b"x"), memoryview(b"x")])
def test_other_values_cannot_be_stored(value: object) -> None:
    assert not storable(value)
    assert type(value) not in SCALARS


def test_hiredis_packs_where_it_is_installed() -> None:
    pytest.importorskip("hiredis")
    assert protocol.pack(("GET", "a")) == pack_python(("GET", "a"))


def test_without_hiredis_commands_are_packed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", None)
    assert protocol._fastest()(("GET", "a")) == pack_python(("GET", "a"))


def test_with_a_hiredis_too_old_to_pack_commands_are_packed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", ModuleType("hiredis"))
    assert protocol._fastest()(("GET", "a")) == pack_python(("GET", "a"))
