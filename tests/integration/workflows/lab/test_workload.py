"""``lab workload`` as somebody types it: run, stopped, killed and judged by its logs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.workload import folder as folders
from aeterna_cli.lab.workload.history import fold
from aeterna_cli.lab.workload.points import Servers, of_tenant
from aeterna_cli.stores.base.placement import PointsPlace
from tests.integration.deployment import Practice
from tests.integration.lab.workload.ground import until

pytestmark = pytest.mark.integration

SMALL = ("--points", "20", "--dimensions", "8", "-o", "json")


@pytest.fixture
def servers(practice: Practice) -> Any:
    settings = lab_profile.build(practice.lab.place()).qdrant
    made = Servers(lambda _place: settings)
    yield made
    made.close()


def collections(servers: Servers) -> set[str]:
    found = servers.at(PointsPlace("", "")).call("GET", "/collections")["collections"]
    return {one["name"] for one in found}


def test_a_run_is_clean_and_leaves_nothing(
    practice: Practice, servers: Servers, tmp_path: Path
) -> None:
    before = collections(servers)
    folder = str(tmp_path / "logs")
    words = ("lab", "workload", "--tenant", "acme-corp", "--tenant", "globex", "--seconds", "1")
    ran = practice.cli.ok(*words, "--folder", folder, *SMALL)
    assert ran.schema == "aeterna.lab.workload/1"
    first, second = ran.data["tenants"]
    assert (first["name"], second["name"]) == ("acme-corp", "globex")
    assert first["acknowledged"] > 20
    assert first["place"]["collection"] == f"workload-{first['tenant']}"
    assert first["client_errors"] == {}
    assert first["measured"]["longest_pause"] > 0
    assert collections(servers) == before


def test_a_tenant_with_a_hostile_name_has_a_table_too(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words = ("lab", "workload", "--tenant", "umlaut-ag", "--seconds", "0.3", "--points", "5")
    ran = practice.cli.ok(*words, "--rate", "50", "-o", "table")
    assert "clean" in ran.out
    assert "emulated" in ran.out
    assert not list(tmp_path.glob("aeterna-workload-*"))  # nobody asks the logs of a clean run


class Running:
    """``lab workload`` in a process of its own that writes until it is told to stop."""

    def __init__(self, practice: Practice, folder: Path, *words: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "aeterna_cli", "lab", "workload", "--tenant", "acme-corp"]
        self.process = subprocess.Popen(
            [*command, "--folder", str(folder), *SMALL, *words],
            env={**os.environ, **practice.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: self.process.poll() is not None or self.acknowledged() >= 15)
        assert self.process.poll() is None, self.process.communicate()

    def acknowledged(self) -> int:
        paths = self.folder.glob("tenant-0/writer-*.log")
        return sum(path.read_text().count("A ") for path in paths)

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def running(practice: Practice, servers: Servers, tmp_path: Path) -> Any:
    """What it leaves behind is taken away."""
    started: list[Running] = []

    def run(*words: str) -> Running:
        started.append(Running(practice, tmp_path / "logs", *words))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
        servers.call(folders.read(one.folder).tenants[0].place, "DELETE", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_the_verdict(
    running: Callable[..., Running], number: signal.Signals
) -> None:
    code, out, err = running().end(number)
    assert code == 0, err
    assert "aeterna.lab.workload/1" in out
    assert "running; logs in" in err


def test_one_that_was_killed_is_judged_by_its_logs(
    running: Callable[..., Running], practice: Practice, servers: Servers
) -> None:
    one = running("--writers", "4")
    assert one.end(signal.SIGKILL)[0] == -signal.SIGKILL
    ran = practice.cli.ok("lab", "workload", "--judge", str(one.folder), "-o", "json")
    (verdict,) = ran.data["tenants"]
    assert verdict["acknowledged"] >= 15
    assert verdict["undecided"] <= 4
    assert verdict["measured"] is None
    tenant = folders.read(one.folder).tenants[0]
    certain = certain_points(one.folder)
    page = next(servers.scan(tenant.place, of_tenant(tenant.id)))
    chosen = next(point["id"] for point in page if point["id"] in certain)
    servers.change(tenant.place, "POST", "/points/delete", {"points": [chosen]})
    found = practice.cli("lab", "workload", "--judge", str(one.folder), "-o", "json")
    assert (found.code, found.error["code"]) == (8, "workload_findings")
    assert found.data["tenants"][0]["at_rest"]["lost"]["count"] == 1
    assert chosen in found.out


def certain_points(folder: Path) -> set[str]:
    """The ids of points whose last operation is known to have happened."""
    description = folders.read(folder)
    universe = description.universe(description.tenants[0])
    history = fold(folders.logs(folder, 0))
    return {universe.id(number) for number in history.last if number not in history.open}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "tenant_missing"),
        (("--tenant", "acme-corq"), "tenant_unknown"),
        (("--tenant", "acme-corp", "--contract", "hope"), "contract_unknown"),
        (("--tenant", "acme-corp", "--drop", "2"), "value_out_of_range"),
        (("--tenant", "acme-corp", "--seconds", "nan"), "value_out_of_range"),
        (("--judge", "/nonexistent"), "workload_folder_unknown"),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    practice: Practice, words: tuple[str, ...], code: str
) -> None:
    ran = practice.cli("lab", "workload", *words, "-o", "json")
    assert (ran.code, ran.error["code"]) == (2, code)
    if code == "tenant_unknown":
        assert "acme-corp" in ran.error["hint"]


def test_it_runs_in_labs_alone(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_ENVIRONMENT", "staging")
    ran = practice.cli("lab", "workload", "--tenant", "acme-corp", "-o", "json")
    assert (ran.code, ran.error["code"]) == (7, "not_a_lab")
