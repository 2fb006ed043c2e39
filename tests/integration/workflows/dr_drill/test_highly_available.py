"""The shipped drills on a highly-available lab: nodes really die, and the writers tell."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine
from tests.integration.deployment import Practice, practise
from tests.integration.ha import PARTS, ha_lab, healthy, until
from tests.integration.workflows.dr_drill.scenarios import measured

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def ha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ha_lab(tmp_path_factory.mktemp("ha") / "lab", (*PARTS, "vault", "qdrant-peers")) as lab:
        yield lab


@pytest.fixture
def site(ha: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Practice:
    ha.up()
    until(lambda: healthy(ha))
    return practise(ha, cli, tmp_path, monkeypatch)


def test_postgres_loses_nothing_when_its_primary_dies(site: Practice) -> None:
    ran = site.cli.ok("dr-drill", "run", "postgres-primary-crash", "--yes")
    found = measured(ran)
    assert found["lost"] == 0
    assert 0.5 < found["rto"] < 40
    assert len(found["servers"]) == 2  # another node acknowledged afterwards
    assert found["action"] > 0


def test_redis_is_measured_by_what_it_lost(site: Practice) -> None:
    ran = site.cli("dr-drill", "run", "redis-primary-crash", "--yes")
    found = measured(ran, "redis")
    assert ran.code in (0, 8)
    assert (ran.code == 0) == (found["rpo"] <= 5 and found["rto"] <= 120)
    assert found["recovered"]
    assert len(set(found["servers"])) >= 1


def test_qdrant_goes_on_at_another_peer(site: Practice) -> None:
    ran = site.cli.ok("dr-drill", "run", "qdrant-peer-loss", "--seed", "3", "--yes")
    assert measured(ran, "qdrant")["lost"] == 0
    assert "emulated" in ran.data["emulated"]


@pytest.mark.soak
def test_without_a_majority_the_primary_stops(site: Practice) -> None:
    ran = site.cli.ok("dr-drill", "run", "dcs-outage", "--yes")
    found = measured(ran)
    assert found["rto"] > 20  # for as long as the others were frozen
    assert found["lost"] == 0


@pytest.mark.soak
def test_the_same_seed_kills_the_same_node(site: Practice) -> None:
    chosen = []
    for _ in range(2):
        ran = site.cli.ok("dr-drill", "run", "qdrant-peer-loss", "--seed", "3", "--yes")
        journal = site.repository / "drills" / ran.data["id"] / "journal.ndjson"
        lines = journal.read_text(encoding="utf-8").splitlines()
        chosen.append([line.partition('"targets"')[2] for line in lines if "target_chosen" in line])
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("drill", ["postgres-partition", "resource-exhaustion", "region-loss"])
def test_what_this_version_cannot_break_is_refused(site: Practice, drill: str) -> None:
    ran = site.cli("dr-drill", "run", drill, "--yes")
    assert (ran.code, ran.error["code"]) == (7, "drill_not_possible")
