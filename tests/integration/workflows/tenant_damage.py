"""One customer's mistake, in every store: and nobody else's data is touched by it."""

import io
from contextlib import closing

from aeterna_cli.deployment import Deployment
from aeterna_cli.stores.qdrant_slice import QdrantSlice
from aeterna_cli.stores.redis_slice import RedisSlice
from aeterna_cli.workflows.backup.tenant_objects import of_tenant
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts, find
from tests.integration.deployment import Practice

EXTRA = "0b4b6f5e-0000-4000-8000-0000000000ee"


def damage(practice: Practice, tenant: str) -> None:
    """Rows, points and keys are deleted, changed and added."""
    with closing(practice.open()) as place:
        where = find(place, tenant)
        rows(practice, where)
        points(place, where)
        keys(place, where)
        objects(place, where)


def rows(practice: Practice, where: Whereabouts) -> None:
    values = list(where.tenant.values)
    with practice.sql() as server:
        server.execute("SET session_replication_role = replica")
        server.execute(
            "DELETE FROM memory_entries WHERE ctid IN"
            " (SELECT ctid FROM memory_entries WHERE tenant_id = ANY(%s) LIMIT 7)",
            (values,),
        )
        server.execute(
            "UPDATE memory_entries SET content = 'ruined' WHERE ctid IN"
            " (SELECT ctid FROM memory_entries WHERE tenant_id = ANY(%s) LIMIT 7)",
            (values,),
        )
        server.execute("DELETE FROM knowledge_items WHERE tenant_id = ANY(%s)", (values,))
        server.execute(
            "UPDATE companies SET name = 'ruined' WHERE tenant_id = %s", (where.tenant.id,)
        )


def points(place: Deployment, where: Whereabouts) -> None:
    with QdrantSlice(place.profile.qdrant) as server:
        for selection in where.selections(place.qdrant.describe()).mine:
            found = list(server.points(selection))
            if len(found) < 4 or not selection.certain:
                continue
            server.delete(selection, [str(found[0]["id"]), str(found[1]["id"])])
            changed = {**found[2], "payload": {**found[2]["payload"], "content": "ruined"}}
            extra = {**found[3], "id": EXTRA}
            server.write(selection.collection, [changed, extra], only_new=False)


def keys(place: Deployment, where: Whereabouts) -> None:
    """Some go (with their members of the index SETs), one comes, one changes."""
    with RedisSlice(place.profile.redis, where.keys, where.tenant.id) as server:
        mine = [one for page in server.pages() for one in page if not one.shared]
        plain = [one for one in mine if one.index is None]
        server.remove(plain[:10])
        server.connection.call("SET", f"{where.tenant.id}:added", "later")
        server.connection.call("SET", f"{where.tenant.id}:settings", "ruined")


def objects(place: Deployment, where: Whereabouts) -> None:
    """One goes, one changes, one comes."""
    found = [(store, one.key) for store, one, _rule in of_tenant(place, where)]
    (first, gone), (second, changed) = found[0], found[-1]
    second.write(changed, io.BytesIO(b"ruined"), replace=True)
    first.write(f"{where.tenant.id}/exports/later.tar.gz", io.BytesIO(b"later"))
    first.delete([gone])


def records(place: Deployment, where: Whereabouts) -> int:
    """Every record that an index SET names is gone, and its member; how many."""
    with RedisSlice(place.profile.redis, where.keys, where.tenant.id) as server:
        mine = [one for page in server.pages() for one in page if not one.shared]
        return server.remove([one for one in mine if one.index is not None])
