"""stop_on_signals: SIGINT and SIGTERM mean "finish what is in hand", and only inside the block."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamkit.signals import stop_on_signals

BOTH = (signal.SIGINT, signal.SIGTERM)


class Loop:
    def __init__(self) -> None:
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Whatever a test does, the handlers of the test run come back."""
    former = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_stops_every_loop(number: signal.Signals) -> None:
    first, second = Loop(), Loop()
    with stop_on_signals(first, second):
        signal.raise_signal(number)
        assert (first.stopped, second.stopped) == (1, 1)


def test_a_second_signal_does_no_harm() -> None:
    loop = Loop()
    with stop_on_signals(loop):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert loop.stopped == 2


def test_the_former_handlers_come_back() -> None:
    def mine(number: int, frame: object) -> None: ...

    signal.signal(signal.SIGINT, mine)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with stop_on_signals(Loop()):
        assert signal.getsignal(signal.SIGINT) is not mine
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is mine
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_they_come_back_when_the_block_ends_with_an_error() -> None:
    former = [signal.getsignal(number) for number in BOTH]

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError), stop_on_signals(Loop()):
        fail()
    assert [signal.getsignal(number) for number in BOTH] == former


def test_blocks_may_be_nested() -> None:
    outer, inner = Loop(), Loop()
    with stop_on_signals(outer):
        with stop_on_signals(inner):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert (outer.stopped, inner.stopped) == (1, 1)


def test_a_handler_that_python_did_not_install_becomes_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    install = signal.signal

    def install_over_c(number: int, handler: Any) -> None:
        install(number, handler)

    monkeypatch.setattr(signal, "signal", install_over_c)
    with stop_on_signals(Loop()):
        pass
    assert [signal.getsignal(number) for number in BOTH] == [signal.SIG_DFL, signal.SIG_DFL]


def test_with_nothing_to_stop_signals_are_only_kept_away() -> None:
    with stop_on_signals():
        signal.raise_signal(signal.SIGINT)


def test_it_belongs_in_the_main_thread() -> None:
    caught: list[BaseException] = []

    def enter() -> None:
        try:
            with stop_on_signals(Loop()):
                pass
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(caught) == 1
