"""What a stream's key looks like from outside."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from redis.exceptions import ResponseError

from streamkit._core.errors import PermissionDenied, WrongKeyType
from streamkit._core.ids import EntryId
from streamkit._core.infos import StreamInfo, stream_info

XINFO: dict[bytes, Any] = {
    b"length": 2,
    b"last-generated-id": b"5-1",
    b"max-deleted-entry-id": b"0-0",
    b"entries-added": 4,
    b"groups": 1,
    b"first-entry": [b"4-0", [b"temp_f", b"41"]],
}


def test_a_stream_that_expires() -> None:
    assert stream_info("s", [XINFO, 1_735_689_600_000]) == StreamInfo(
        key="s",
        length=2,
        first_id=EntryId(4),
        last_id=EntryId(5, 1),
        entries_added=4,
        groups=1,
        expires_at=datetime(2025, 1, 1, tzinfo=timezone.utc),
    )


@pytest.mark.parametrize("expiry", [-1, -2])
def test_one_that_does_not_expire(expiry: int) -> None:
    assert stream_info("s", [XINFO, expiry]).expires_at is None


def test_one_that_does_not_exist_is_empty() -> None:
    assert stream_info("s", [ResponseError("ERR no such key"), -2]) == StreamInfo("s", 0, None, None, 0, 0, None)


def test_a_key_of_another_type_is_an_error() -> None:
    with pytest.raises(WrongKeyType, match="'s' holds a value of another type, not a stream") as caught:
        stream_info("s", [ResponseError("WRONGTYPE Operation"), -1])
    assert caught.value.key == "s"


@pytest.mark.parametrize("replies", [[ResponseError("NOPERM no"), -1], [XINFO, ResponseError("NOPERM no")]])
def test_what_the_user_may_not_ask_is_denied(replies: list[Any]) -> None:
    with pytest.raises(PermissionDenied, match="the server refused asking about 's': NOPERM no; grant the user"):
        stream_info("s", replies)
