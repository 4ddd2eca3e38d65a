"""A program that forks with a stream in hand. Started as ``-m tests.endurance.sharing URL CHILDREN COUNT``."""

from __future__ import annotations

import os
import sys

import redis

from streamkit import Stream


def main() -> None:
    """Append in this process, in children that it forks, and in this one again."""
    url, children, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    client = redis.Redis.from_url(url)
    stream = Stream(client, "forked")

    def append(who: int) -> None:
        for n in range(count):
            stream.append({"who": who, "n": n})
        assert stream.append_many({"who": who, "n": n} for n in range(count, 2 * count)) == count

    append(0)
    started: list[int] = []
    for who in range(1, children + 1):
        child = os.fork()
        if not child:
            status = 1
            try:
                append(who)
                status = 0
            finally:
                os._exit(status)
        started.append(child)
    append(children + 1)
    for child in started:
        assert os.waitpid(child, 0)[1] == 0
    client.close()


if __name__ == "__main__":
    main()
