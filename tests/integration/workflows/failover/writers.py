"""Writers that number what they write, as an application does, and count what was acknowledged."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

from aeterna_cli.errors import AeternaError
from aeterna_cli.stores.postgres_connection import connect, postgres_errors
from aeterna_cli.stores.redis_connection import RedisConnection
from tests.integration.deployment import Practice


class Writer:
    """One number after another, each its own row or key; a refused one is not written again."""

    def __init__(self, write: Callable[[int], None]) -> None:
        self._write = write
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._number = 0
        self.acknowledged: list[int] = []
        self.gap = 0.0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = monotonic()
        while not self._stop.wait(0.002):
            self._number += 1
            try:
                self._write(self._number)
            except AeternaError:
                continue
            self.gap = max(self.gap, monotonic() - last)
            last = monotonic()
            self.acknowledged.append(self._number)


class Rows:
    """Rows of a table, over a connection that is kept until it breaks."""

    def __init__(self, practice: Practice) -> None:
        profile = practice.open().profile.postgres
        self._settings = profile.model_copy(update={"connect_timeout": 2})
        self._connection: Any = None
        with practice.sql() as server:
            server.execute("CREATE TABLE numbers (n int PRIMARY KEY)")
            server.execute("GRANT INSERT ON numbers TO aeterna_backup")

    def write(self, number: int) -> None:
        try:
            with postgres_errors():
                if self._connection is None:
                    self._connection = connect(self._settings)
                self._connection.execute("INSERT INTO numbers VALUES (%s)", (number,))
        except AeternaError:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@contextmanager
def rows(practice: Practice) -> Iterator[Writer]:
    """Every acknowledged row is there at the end, or the test fails."""
    with closing(Rows(practice)) as made, Writer(made.write) as writer:
        yield writer
    with practice.sql() as server:
        found = {n for (n,) in server.execute("SELECT n FROM numbers").fetchall()}
        server.execute("DROP TABLE numbers")
    assert len(writer.acknowledged) > 20
    assert not set(writer.acknowledged) - found


@contextmanager
def keys(practice: Practice) -> Iterator[Writer]:
    """Every acknowledged key is there at the end, or the test fails."""
    settings = practice.open().profile.redis.model_copy(update={"timeout": 1})
    with closing(RedisConnection(settings)) as connection:
        with Writer(lambda number: connection.call("SET", f"n:{number}", number)) as writer:
            yield writer
        names = [f"n:{number}" for number in writer.acknowledged]
        assert len(names) > 20
        missing = [
            name
            for name, there in zip(
                names, connection.batch([["EXISTS", name] for name in names]), strict=True
            )
            if not there
        ]
        connection.call("UNLINK", *names)
    assert not missing
