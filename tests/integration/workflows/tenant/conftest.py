"""Deployments of a test's own, where it changes what is there; one Qdrant for a session's moves."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest

from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine
from tests.integration.lab.qdrant_process import Server
from tests.integration.stores.moving import served
from tests.integration.workflows.tenant.moves import Moves, moves
from tests.integration.workflows.tenant.scratch import Scratch, scratch_deployment


@pytest.fixture
def scratch(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scratch]:
    with scratch_deployment(lab, cli, tmp_path, monkeypatch) as made:
        yield made


class Begin(Protocol):
    def __call__(self, contract: str, **application: Any) -> AbstractContextManager[Moves]: ...


@pytest.fixture(scope="session")
def qdrant() -> Iterator[Server]:
    with served("1.17.1") as server:
        yield server


@pytest.fixture
def begin(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qdrant: Server
) -> Begin:
    def made(contract: str, **application: Any) -> AbstractContextManager[Moves]:
        return moves(
            lab, cli, tmp_path, monkeypatch, server=qdrant, contract=contract, **application
        )

    return made
