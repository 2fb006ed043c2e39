"""Things that no rule of ours knows, put into every store of the lab and taken out again."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import BytesIO

from aeterna_cli.lab.valkey import client
from aeterna_cli.stores.qdrant_http import part
from tests.integration.deployment import Practice


@dataclass(frozen=True)
class Foreign:
    """``points``: payloads of points to put into the collections."""

    tables: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    points: tuple[dict[str, str], ...] = field(default=())


@contextmanager
def foreign(practice: Practice, things: Foreign) -> Iterator[None]:
    """The things are there inside the block, and gone after it."""
    from psycopg import sql

    with closing(practice.open()) as place:
        (bucket,) = place.application_objects()
        try:
            with practice.sql() as server:
                for name in things.tables:
                    made = sql.SQL("CREATE TABLE {} (id int PRIMARY KEY)")
                    server.execute(made.format(sql.Identifier(name)))
            for name in things.collections:
                vectors = {"vectors": {"size": 4, "distance": "Cosine"}}
                place.qdrant._http.call("PUT", f"/collections/{part(name)}", vectors)
                points = [
                    {"id": number, "vector": [1.0, 0.0, 0.0, float(number)], "payload": payload}
                    for number, payload in enumerate(things.points)
                ]
                if points:
                    path = f"/collections/{part(name)}/points?wait=true"
                    place.qdrant._http.call("PUT", path, {"points": points})
            with client(practice.lab.place()) as redis:
                for key in things.keys:
                    redis.set(key, "x")
            for key in things.objects:
                bucket.write(key, BytesIO(b"x"))
            yield
        finally:
            with practice.sql() as server:
                for name in things.tables:
                    server.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
            for name in things.collections:
                place.qdrant._http.call("DELETE", f"/collections/{part(name)}")
            with client(practice.lab.place()) as redis:
                for key in things.keys:
                    redis.delete(key)
            bucket.delete(things.objects)
