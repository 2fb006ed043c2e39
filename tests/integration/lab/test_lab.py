"""The lab on real servers: starts, survives crashes, stops everything, keeps its data."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.lab import processes
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.names import PARTS
from aeterna_cli.lab.part import NotReady
from aeterna_cli.lab.valkey import client

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "lab"
    yield directory
    with contextlib.suppress(RefusedError):
        Lab(directory).down()
    state = Lab(directory).file.read()
    assert state is None or processes.of_lab(directory, state.id) == []


def states(lab: Lab) -> dict[str, str]:
    status = lab.status()
    assert status is not None
    return {part.part: part.state for part in status.parts}


def cli(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "aeterna_cli", "lab", *words],
        env={**os.environ, "AETERNA_LAB_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_up_down_and_up_again_keeps_data_and_ports(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(["redis"])
    first = lab.place()
    with client(first) as server:
        server.set("kept", "yes")
    assert states(lab) == {part: "running" if part == "redis" else "left out" for part in PARTS}
    report = lab.down()
    assert [part.how for part in report.parts] == ["stopped"]
    assert report.strays == 0
    assert not (folder / "profile.toml").exists()
    lab.up(["redis"])
    with client(lab.place()) as server:
        assert server.get("kept") == "yes"
    assert lab.place().ports["redis"] == first.ports["redis"]


def test_up_adopts_what_runs(folder: Path) -> None:
    lab = Lab(folder)
    before = lab.up(["redis"])
    after = lab.up(["redis"])
    assert [p.pid for p in before.parts] == [p.pid for p in after.parts]


def test_every_secret_is_private_and_none_is_on_a_command_line(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(["redis", "postgres"])
    secrets = list((folder / "secrets").iterdir())
    assert secrets
    assert all(path.stat().st_mode & 0o077 == 0 for path in [folder, *secrets])
    values = [path.read_bytes().strip() for path in secrets]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes()
            assert not any(value in words for value in values)


def test_a_killed_server_is_seen_and_comes_back(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(["postgres"])
    LabControl(lab).kill("postgres")
    assert states(lab)["postgres"] == "died"
    lab.up()
    assert states(lab)["postgres"] == "running"


def test_kill_of_the_command_in_the_middle_leaves_a_lab_that_up_finishes(folder: Path) -> None:
    words = [sys.executable, "-m", "aeterna_cli", "lab", "up", "--without", "qdrant"]
    command = subprocess.Popen(
        words,
        env={**os.environ, "AETERNA_LAB_DIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lab = Lab(folder)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        known = lab.file.read()
        if known is not None and known.processes:
            break
        time.sleep(0.01)
    command.send_signal(signal.SIGKILL)
    command.wait()
    done = cli(folder, "up", "--without", "qdrant")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert tree["schema"] == "aeterna.lab.status/1"
    assert {p["part"]: p["state"] for p in tree["data"]["parts"]}["vault"] == "running"
    assert tree["data"]["strays"] == []


def test_wipe_and_replace_refuse_a_running_server(folder: Path, tmp_path: Path) -> None:
    lab = Lab(folder)
    lab.up(["redis"])
    control = LabControl(lab)
    with pytest.raises(RefusedError, match="runs"):
        control.wipe("redis")
    with client(lab.place()) as server:
        server.set("gone", "soon")
    control.stop("redis")
    fresh = folder / "redis" / "prepared"
    fresh.mkdir()
    old = control.replace_data_dir("redis", fresh)
    assert old is not None
    assert (old / "appendonlydir").is_dir()
    control.start("redis")
    with client(lab.place()) as server:
        assert server.dbsize() == 0


def test_reset_leaves_nothing_and_refuses_without_a_yes(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(["redis"])
    refused = cli(folder, "reset")
    assert refused.returncode == 7
    assert "--yes" in refused.stderr
    assert states(lab)["redis"] == "running"
    assert cli(folder, "reset", "--yes").returncode == 0
    assert {entry.name for entry in folder.iterdir()} <= {"lock"}


def test_two_labs_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other")
    lab = Lab(folder)
    lab.up(["redis"])
    other.up(["redis"])
    try:
        assert lab.place().ports["redis"] != other.place().ports["redis"]
        other.down()
        assert states(lab)["redis"] == "running"
    finally:
        other.down()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RefusedError, match="holds no lab"):
        Lab(tmp_path).up(["redis"])


def test_an_unknown_part_is_a_usage_error(folder: Path) -> None:
    with pytest.raises(UsageError, match="no part 'oracle'"):
        Lab(folder).up(["oracle"])
    assert cli(folder, "up", "--without", "oracle").returncode == 2


def test_down_without_a_lab_does_nothing(folder: Path) -> None:
    assert Lab(folder).down().parts == ()
    assert not folder.exists()
    with pytest.raises(RefusedError, match="no lab"):
        Lab(folder).place()


def test_a_client_of_a_stopped_server_is_told(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(["redis"])
    LabControl(lab).stop("redis")
    from aeterna_cli.lab.servers import SERVERS

    with pytest.raises(NotReady):
        SERVERS["redis"].check(lab.place())


def test_a_killed_s3_leaves_nothing_outside_the_lab(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(["s3"])
    numbers = {str(lab.place().ports[name]) for name in ("s3-grpc", "s3-volume-grpc")}

    def sockets() -> list[Path]:
        found = Path("/tmp").glob("seaweedfs-*.sock")  # noqa: S108 - where the server puts them
        return [path for path in found if path.stem.rpartition("-")[2] in numbers]

    assert sockets()
    LabControl(lab).kill("s3")
    assert sockets() == []
    assert lab.status() is not None
