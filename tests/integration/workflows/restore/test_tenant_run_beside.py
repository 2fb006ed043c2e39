"""``restore run --tenant-id`` beside others: their writes go on, and none of theirs is touched."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import pytest

from aeterna_cli.stores.qdrant_slice import QdrantSlice
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts, find
from tests.integration.deployment import Practice
from tests.integration.workflows import tenant_damage
from tests.integration.workflows.restore.test_tenant_run import restored, saved
from tests.integration.workflows.tenant_lab import look

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SHARED = "memories-shared"
RECORD = b"aeterna:git_provider_connections:both"
INDEX = b"aeterna:git_provider_connections:__index"


class Neighbour:
    """Writes a row, a point and a key of its own tenant over and over, each with a new id."""

    def __init__(self, practice: Practice, tenant: str) -> None:
        self._place = practice.open()
        self._where = find(self._place, tenant)
        self._practice = practice
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.written: list[str] = []
        self.longest = 0.0
        self.ended = False  # and not failed

    def __enter__(self) -> "Neighbour":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        self._place.close()

    def _run(self) -> None:
        with self._practice.sql() as server, self._points() as (points, template):
            server.execute("SET session_replication_role = replica")
            while not self._stop.is_set():
                began = monotonic()
                self._write(server, points, template)
                self.longest = max(self.longest, monotonic() - began)
        self.ended = True

    @contextmanager
    def _points(self) -> Iterator[tuple[QdrantSlice, dict[str, Any]]]:
        with QdrantSlice(self._place.profile.qdrant) as points:
            yield points, next(iter(points.points(self._selection)))

    @property
    def _selection(self) -> Any:
        described = self._place.qdrant.describe()
        found = self._where.selections(described).mine
        (selection,) = [one for one in found if one.collection == SHARED]
        return selection

    def _write(self, server: Any, points: QdrantSlice, template: dict[str, Any]) -> None:
        name = str(uuid.uuid4())
        server.execute(
            "INSERT INTO companies SELECT (jsonb_populate_record(c,"
            " jsonb_build_object('id', %s::text, 'slug', %s::text, 'name', %s::text))).*"
            " FROM companies c WHERE tenant_id = %s LIMIT 1",
            (name, name, name, self._where.tenant.id),
        )
        points.write(SHARED, [{**template, "id": name}], only_new=True)
        self._place.redis.connection.call("SET", self._key(name), name)
        self.written.append(name)

    def _key(self, name: str) -> str:
        return f"{self._where.tenant.id}:{name}"

    def present(self) -> tuple[int, int, int]:
        """How many of what was written is there: rows, points, keys."""
        with self._practice.sql() as server:
            query = "SELECT count(*) FROM companies WHERE id::text = ANY (%s)"
            (rows,) = server.execute(query, (self.written,)).fetchone()
        body = {"ids": self.written, "with_payload": False}
        path = f"/collections/{SHARED}/points"
        points = self._place.qdrant._http.call("POST", path, body)
        keys = self._place.redis.connection.call("EXISTS", *map(self._key, self.written))
        return rows, len(points), keys

    def forget(self) -> None:
        with self._practice.sql() as server:
            server.execute("SET session_replication_role = replica")
            server.execute("DELETE FROM companies WHERE id::text = ANY (%s)", (self.written,))
        with QdrantSlice(self._place.profile.qdrant) as points:
            points.delete(self._selection, self.written)
        self._place.redis.connection.call("DEL", *map(self._key, self.written))


def test_others_write_all_the_while_and_lose_nothing(practice: Practice) -> None:
    before = look(practice, "globex")
    backup = saved(practice, "globex")
    tenant_damage.damage(practice, "globex")
    with closing(Neighbour(practice, "acme-corp")) as neighbour:
        with neighbour:
            restored(practice, "globex", backup, "--mode", "replace", "--confirm", "globex")
        assert neighbour.ended
        count = len(neighbour.written)
        assert count > 20
        assert neighbour.present() == (count, count, count)
        assert neighbour.longest < 5.0  # nobody waited for the restore: that takes longer
        neighbour.forget()
    assert look(practice, "globex") == before


def _tenants(practice: Practice) -> tuple[Whereabouts, Whereabouts]:
    with closing(practice.open()) as place:
        return find(place, "globex"), find(place, "initech")


def _record(*names: str, note: str) -> bytes:
    return json.dumps({"name": note, "allowed_tenant_ids": names}).encode()


@pytest.mark.parametrize("mode", ["replace", pytest.param("missing", marks=pytest.mark.soak)])
def test_a_record_of_several_tenants_comes_back_and_is_never_changed(
    practice: Practice, mode: str
) -> None:
    mine, other = _tenants(practice)
    both = _record(mine.tenant.id, other.tenant.slug, note="both")
    words = ("--mode", mode, *(("--confirm", "globex") if mode == "replace" else ("--yes",)))
    with closing(practice.open()) as place:
        redis = place.redis.connection
        try:
            redis.call("SET", RECORD, both)
            redis.call("SADD", INDEX, "both")
            backup = saved(practice, "globex")
            changed = _record(mine.tenant.id, other.tenant.slug, note="changed by initech")
            redis.call("SET", RECORD, changed)
            restored(practice, "globex", backup, *words)
            assert redis.call("GET", RECORD) == changed
            redis.call("DEL", RECORD)
            redis.call("SREM", INDEX, "both")
            restored(practice, "globex", backup, *words)
            assert redis.call("GET", RECORD) == both
            assert redis.call("SISMEMBER", INDEX, "both") == 1
        finally:
            redis.call("DEL", RECORD)
            redis.call("SREM", INDEX, "both")


def test_a_record_that_others_have_too_stays_although_the_backup_lacks_it(
    practice: Practice,
) -> None:
    mine, other = _tenants(practice)
    backup = saved(practice, "globex")
    later = _record(mine.tenant.id, other.tenant.slug, note="later")
    with closing(practice.open()) as place:
        redis = place.redis.connection
        try:
            redis.call("SET", RECORD, later)
            redis.call("SADD", INDEX, "both")
            restored(practice, "globex", backup, "--mode", "replace", "--confirm", "globex")
            assert redis.call("GET", RECORD) == later
            assert redis.call("SISMEMBER", INDEX, "both") == 1
        finally:
            redis.call("DEL", RECORD)
            redis.call("SREM", INDEX, "both")
