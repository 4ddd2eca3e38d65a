# Generated from tests/integration/asyncio/test_dead_letter_queue.py by tools/generate_sync.py: do not edit.
"""Dead letters: looked at, counted and dropped, whatever their number."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis
from typing_extensions import override

import streamkit._sync.dead_letter_queue
import streamkit._sync.insisting
from streamkit import (
    Cause,
    CheckpointedReader,
    DeadLetterQueue,
    DecodeError,
    EntryId,
    InvalidArgument,
    JsonCodec,
    NaiveDatetime,
    Observer,
    ServerUnavailable,
    Stream,
    WrongKeyType,
)
from streamkit._core import pages
from streamkit._core.retry import Backoff
from streamkit.testing import redis_server
from tests.integration._sync._letters import AT, bury, bury_many, provenance
from tests.integration._sync._runtime import client_of_the_other_half, pause, running
from tests.integration.proxy import Proxy


class Heard(Observer):
    """Remembers what was passed over."""

    def __init__(self) -> None:
        self.passed: list[DecodeError] = []

    @override
    def on_undecodable(self, error: DecodeError) -> None:
        self.passed.append(error)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of seven letters."""
    monkeypatch.setattr(streamkit._sync.dead_letter_queue, "PAGE", 7)


# Looking ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_pages")
def test_letters_are_read_page_by_page(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            ids = bury_many(client, name, "orders", 1050)
            queue = DeadLetterQueue(client, name)
            assert [letter.id for letter in queue] == ids
            assert proxy.counts[b"XRANGE"] == 151
            assert [letter.fields[b"n"] for letter in queue.letters(reverse=True)] == [
                b"%d" % n for n in reversed(range(1050))
            ]
            assert proxy.counts[b"XREVRANGE"] == 151


def test_pages_of_large_letters_are_small(redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 20_000)
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            for n in range(110):
                bury(client, name, provenance("orders", n), b"data", b"x" * 5000)
            assert DeadLetterQueue(client, name).count() == 110
            # A hundred in the first page, before anything is known of them.
            assert proxy.counts[b"XRANGE"] == 5


def test_a_letter_tells_all_that_is_known(client: redis.Redis, name: str) -> None:
    told = provenance("orders", 5, Cause.EXHAUSTED, error=ValueError("card"), reason="no card", redrives=2)
    entry_id = bury(client, name, told, b"a", b"1", b"a", b"2")
    (letter,) = {letter.id: letter for letter in DeadLetterQueue(client, name)}.values()
    assert (letter.id, letter.stream, letter.entry_id, letter.cause) == (
        entry_id, "orders", EntryId(5), Cause.EXHAUSTED,
    )  # fmt: skip
    assert (letter.error_type, letter.error, letter.reason) == ("ValueError", "card", "no card")
    assert (letter.group, letter.consumer, letter.reader) == ("billing", "worker", None)
    assert (letter.attempt, letter.redrives) == (2, 2)
    assert letter.time == datetime(2025, 1, 1, tzinfo=timezone.utc)
    assert (letter.pairs, letter.fields) == ((b"a", b"1", b"a", b"2"), {b"a": b"2"})


@pytest.mark.usefixtures("small_pages")
def test_letters_are_filtered(client: redis.Redis, name: str) -> None:
    for n in range(40):
        group, cause = ("billing", "shipping")[n % 2], (Cause.REJECTED, Cause.EXHAUSTED)[n // 2 % 2]
        bury(client, name, provenance("orders", n, cause, group=group), b"n", b"%d" % n, at=f"{AT + n * 1000}-5")
    queue = DeadLetterQueue(client, name)

    def found(**filters: Any) -> list[int]:
        letters = [int(letter.fields[b"n"]) for letter in queue.letters(**filters)]
        del filters["limit"], filters["reverse"]
        return letters

    def check(expected: list[int], **filters: Any) -> None:
        assert found(**filters, limit=None, reverse=False) == expected
        assert found(**filters, limit=None, reverse=True) == expected[::-1]
        assert found(**filters, limit=3, reverse=False) == expected[:3]
        assert found(**filters, limit=0, reverse=True) == []
        assert queue.count(**filters) == len(expected)

    every = list(range(40))
    check(every)
    check(every[::2], group="billing")
    check([n for n in every if n // 2 % 2], cause=Cause.EXHAUSTED)
    check(every[1::4], group="shipping", cause=Cause.REJECTED)
    check([], group="nobody")
    begin = datetime(2025, 1, 1, tzinfo=timezone.utc)
    check(every[10:20], start=begin + timedelta(seconds=10), end=begin + timedelta(seconds=20))
    check(every[10:21], start=EntryId(AT + 10_000), end=EntryId(AT + 20_000, 5))
    check(every[10:20], start=f"{AT + 10_000}-5", end=f"{AT + 20_000}-4")
    check(every[12:20:2], group="billing", start=EntryId(AT + 10_001), end=EntryId(AT + 19_000))
    check([], end=begin)
    check([39], start=EntryId(AT + 39_000))


@pytest.mark.usefixtures("small_pages")
def test_letters_may_come_and_go_while_they_are_read(client: redis.Redis, name: str) -> None:
    ids = bury_many(client, name, "orders", 30)
    queue = DeadLetterQueue(client, name)
    seen: list[EntryId] = []
    for letter in queue:
        seen.append(letter.id)
        assert queue.discard([letter.id]) == 1
        if len(seen) == 15:
            client.xdel(name, *map(str, ids[21:25]))
            ids.append(bury(client, name, provenance("orders", 31), b"n", b"31"))
    assert seen == [*ids[:21], *ids[25:]]
    assert queue.length() == 0


@pytest.mark.usefixtures("small_pages")
def test_entries_that_are_no_letters_are_passed_over_and_told(client: redis.Redis, name: str) -> None:
    strange: list[str] = []
    plain: Any = client
    for n in range(20):
        bury(client, name, provenance("orders", n), b"n", b"%d" % n)
        foreign = {b"n": b"1"} if n % 2 else {b"streamkit:stream": b"orders", b"\xff": b"\xfe"}
        strange.append((plain.xadd(name, foreign)).decode())
    heard = Heard()
    queue = DeadLetterQueue(client, name, observer=heard)
    assert [int(letter.fields[b"n"]) for letter in queue] == list(range(20))
    assert [error.entry_id for error in heard.passed] == strange
    assert {error.stream for error in heard.passed} == {name}
    assert heard.passed[0].fields == (b"streamkit:stream", b"orders", b"\xff", b"\xfe")
    assert queue.length() == 40
    assert queue.count() == 20
    assert queue.redrive(strange, to=f"{name}:else") == 0
    assert queue.length() == 40
    assert queue.discard(strange) == 20


def test_a_queue_that_does_not_exist_is_empty(client: redis.Redis, name: str) -> None:
    queue = DeadLetterQueue(client, name)
    assert [letter.id for letter in queue] == []
    assert (queue.length(), queue.count(), queue.trim()) == (0, 0, 0)
    assert (queue.redrive(), queue.redrive(["5-1"]), queue.discard(["5-1"])) == (0, 0, 0)
    assert queue.discard(cause=Cause.REJECTED) == 0
    assert not client.exists(name)


def test_a_key_of_another_type_is_refused(client: redis.Redis, name: str) -> None:
    client.set(name, "text")
    queue = DeadLetterQueue(client, name)
    with pytest.raises(WrongKeyType, match=name):
        [letter.id for letter in queue]
    for call in (queue.length, queue.count, queue.trim, queue.redrive):
        with pytest.raises(WrongKeyType, match=name):
            call()
    choices: list[dict[str, Any]] = [{"ids": ["5-1"]}, {"cause": Cause.REJECTED}]
    for choice in choices:
        with pytest.raises(WrongKeyType, match=name):
            queue.discard(**choice)


def test_any_client_will_do(redis_url: str, name: str) -> None:
    kinds: list[dict[str, Any]] = [{"decode_responses": True}, {"protocol": 3}, {"protocol": 2}]
    for number, options in enumerate(kinds):
        with redis.Redis.from_url(redis_url, **options) as client:
            key = f"{name}:{number}"
            client.xadd(f"{key}:orders", {"n": 0})
            bury(client, key, provenance(f"{key}:orders"), b"n", b"1")
            bury(client, key, provenance(f"{key}:orders"), b"\xff", b"\xfe")
            queue = DeadLetterQueue(client, key)
            assert [letter.pairs for letter in queue.letters(reverse=True)] == [(b"\xff", b"\xfe"), (b"n", b"1")]
            assert queue.redrive() == 2
            assert (queue.length(), queue.discard(["1-1"])) == (0, 0)


def test_what_a_reader_could_not_decode_is_here(client: redis.Redis, name: str) -> None:
    stream: Stream[Any] = Stream(client, name, codec=JsonCodec())
    plain: Any = client
    plain.execute_command("XADD", name, "5-1", "data", "{", "data", "}")
    reader = CheckpointedReader(client, stream, f"{name}:state", follow=False, observer=Observer())
    with reader:
        assert [entry.id for entry in reader] == []
    queue = DeadLetterQueue(client, f"{{{name}:state}}:dead-letters")
    (letter,) = {letter.id: letter for letter in queue}.values()
    assert (letter.stream, letter.entry_id, letter.cause) == (name, EntryId(5, 1), Cause.UNDECODABLE)
    assert (letter.reader, letter.group, letter.error_type) == (f"{name}:state", None, "JSONDecodeError")
    assert letter.pairs == (b"data", b"{", b"data", b"}")
    with pytest.raises(DecodeError, match=rf"entry 5-1 of '{name}' cannot be decoded"):
        letter.decode(JsonCodec())


# Dropping -----------------------------------------------------------------------------------------------------------


def test_letters_are_discarded_by_their_ids(client: redis.Redis, name: str) -> None:
    ids = bury_many(client, name, "orders", 10)
    queue = DeadLetterQueue(client, name)
    assert queue.discard([ids[3], str(ids[5]), ids[3], "77-7"]) == 2
    assert queue.discard([]) == 0
    assert [letter.id for letter in queue] == [ids[n] for n in (0, 1, 2, 4, 6, 7, 8, 9)]


@pytest.mark.usefixtures("small_pages")
def test_letters_are_discarded_by_a_filter(client: redis.Redis, name: str) -> None:
    bury_many(client, name, "orders", 30)
    other = bury(client, name, provenance("orders", 7, Cause.EXHAUSTED), b"n", b"7")
    queue = DeadLetterQueue(client, name)
    assert queue.discard(cause=Cause.REJECTED, end="20-0") == 20
    assert queue.discard(group="shipping") == 0
    assert queue.discard(start="28-0", end="28-0") == 1
    assert queue.discard(cause=Cause.REJECTED) == 9
    assert [letter.id for letter in queue] == [other]


def test_nothing_is_discarded_by_mistake(client: redis.Redis, name: str) -> None:
    bury_many(client, name, "orders", 3)
    queue = DeadLetterQueue(client, name)
    with pytest.raises(InvalidArgument, match="say which: by ids, group, cause, start or end"):
        queue.discard()
    with pytest.raises(InvalidArgument, match="give either ids or group, cause, start and end, not both"):
        queue.discard(["1-0"], group="billing")
    with pytest.raises(InvalidArgument, match=r"for a single one write \['1-0'\]"):
        queue.discard("1-0")
    assert queue.length() == 3


def test_the_oldest_letters_beyond_the_cap_go_when_told(client: redis.Redis, name: str) -> None:
    bury_many(client, name, "orders", 550)
    assert DeadLetterQueue(client, name).trim() == 0
    queue = DeadLetterQueue(client, name, maxlen=120)
    removed = queue.trim()
    assert 300 <= removed <= 430
    assert queue.length() == 550 - removed
    assert (next(iter(queue))).fields == {b"n": b"%d" % removed}


# When something is wrong --------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused_at_once() -> None:
    unreachable = redis.Redis(port=1)
    with pytest.raises(InvalidArgument, match="key must be a non-empty str"):
        DeadLetterQueue(unreachable, "")
    with pytest.raises(InvalidArgument, match="maxlen must be zero or more"):
        DeadLetterQueue(unreachable, "letters", maxlen=-1)


def test_a_client_of_the_other_half_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="belongs to"):
        DeadLetterQueue(client_of_the_other_half(), "letters")


def test_bad_filters_are_refused_without_asking_the_server() -> None:
    queue = DeadLetterQueue(redis.Redis(port=1), "letters")
    wrong: Any = "rejected"
    with pytest.raises(InvalidArgument, match=r"cause must be a Cause"):
        queue.letters(cause=wrong)
    with pytest.raises(InvalidArgument, match=r"limit must be zero or more, not -1"):
        queue.letters(limit=-1)
    with pytest.raises(NaiveDatetime):
        queue.count(start=datetime(2025, 1, 1))  # noqa: DTZ001 - the point
    assert repr(queue) == "DeadLetterQueue('letters')"
    assert queue.key == "letters"


def test_lost_replies_are_asked_for_again(redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamkit._sync.insisting, "RECONNECT", Backoff(base=0.01, maximum=0.05))
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            ids = bury_many(client, name, "orders", 250)
            queue = DeadLetterQueue(client, name)
            proxy.cut_amid_reply(matching=b"XRANGE", nth=2)
            proxy.cut_before_request(matching=b"XLEN")
            proxy.cut_after_request(matching=b"XDEL")
            assert [letter.id for letter in queue] == ids
            assert queue.length() == 250
            # What was deleted by the call whose reply was lost counts.
            assert queue.discard(ids[:20]) == 20
            assert proxy.cuts == 3
            assert queue.length() == 230


def test_a_server_that_stays_away_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamkit._sync.insisting, "PATIENCE", 0.3)
    with redis_server() as url, Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            queue = DeadLetterQueue(client, name)
            assert queue.length() == 0
            proxy.down()
            with pytest.raises(ServerUnavailable, match="the server could not be reached"):
                queue.length()
            proxy.up()
            assert queue.length() == 0


def test_a_server_that_refuses_for_now_is_waited_for(name: str) -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as client:
            bury_many(client, name, "orders", 5)
            queue = DeadLetterQueue(client, name)
            assert queue.length() == 5
            plain.replicaof("127.0.0.1", "1")

            def discard() -> int:
                return queue.discard(["1-0"])

            with running(discard) as discarding:
                pause(0.2)
                assert not discarding.done
                plain.replicaof("NO", "ONE")
                assert discarding.result() == 1
