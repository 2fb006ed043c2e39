"""The highly-available lab: it forms, survives the loss of nodes, and leaves no process behind."""

import contextlib
from collections.abc import Iterator

import pytest

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError
from aeterna_cli.lab import names, processes, valkey
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.names import POSTGRES_NODES
from aeterna_cli.lab.ports import free
from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.stores.postgres_connection import connect
from tests.integration.ha import cluster, ha_lab, healthy, leader, redis_primary, until, writable

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("ha") / "lab"
    with ha_lab(folder) as lab:
        yield lab
    state = Lab(folder).file.read()
    assert state is not None
    assert processes.of_lab(folder, state.id) == []


@pytest.fixture
def whole(ha: Lab) -> Lab:
    """Everything that an earlier test took away is back."""
    ha.up()
    until(lambda: healthy(ha))
    return ha


def test_the_profile_reaches_whoever_takes_writes(whole: Lab) -> None:
    profile = whole.profile()
    with contextlib.closing(connect(profile.postgres)) as connection:
        (recovering,) = connection.execute("SELECT pg_is_in_recovery()").fetchone() or (None,)
    assert recovering is False
    with contextlib.closing(Deployment("lab", profile)) as place:
        assert place.redis.connection.call("ROLE")[0] == b"master"


def test_a_node_that_dies_takes_nothing_with_it_and_comes_back(whole: Lab) -> None:
    """Patroni and its PostgreSQL end together: no primary is left behind without one."""
    first = leader(whole)
    assert first in POSTGRES_NODES
    with superuser(whole.place(), DATABASE) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    LabControl(whole).kill(first)
    assert all(free(whole.place().ports[name]) for name in names.PORTS[first])
    until(lambda: leader(whole) not in (first, None) and writable(whole))
    with superuser(whole.place(), DATABASE) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
        connection.execute("DROP TABLE kept")
    LabControl(whole).start(first)
    until(lambda: healthy(whole))
    assert cluster(whole)[first]["role"] in ("sync_standby", "replica")


def test_a_redis_primary_that_died_comes_back_as_a_replica(whole: Lab) -> None:
    first = redis_primary(whole)
    assert first is not None
    with valkey.client(whole.place()) as server:
        server.set("kept", "yes")
        server.wait(1, 1000)
    LabControl(whole).kill(first)
    until(lambda: redis_primary(whole) not in (first, None))
    LabControl(whole).start(first)
    with valkey.client(whole.place(), first) as server:
        assert server.info("replication")["role"] == "slave"
    until(lambda: healthy(whole))
    with valkey.client(whole.place()) as server:
        assert server.get("kept") == "yes"


def test_down_and_up_again_keeps_everything(whole: Lab) -> None:
    with superuser(whole.place(), DATABASE) as connection:
        connection.execute("CREATE TABLE again AS SELECT 7 AS n")
    report = whole.down()
    assert {part.how for part in report.parts} <= {"stopped", "was not running"}
    assert report.strays == 0
    whole.up()
    until(lambda: healthy(whole))
    with superuser(whole.place(), DATABASE) as connection:
        assert connection.execute("SELECT n FROM again").fetchall() == [(7,)]
        connection.execute("DROP TABLE again")


def test_a_folder_holds_one_kind_of_lab(whole: Lab) -> None:
    for wanted in ({"topology": "single"}, {"parts": ["redis"]}):
        with pytest.raises(RefusedError) as refused:
            whole.up(**wanted)
        assert refused.value.code == "lab_topology"
