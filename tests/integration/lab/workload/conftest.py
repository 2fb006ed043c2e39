"""One small Qdrant for the tests of the workload."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lab.qdrant_process import Server
from tests.integration.lab.workload.ground import Ground


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("workload-qdrant"))
    made.start()
    yield made
    made.stop()
    made.close()


@pytest.fixture(scope="session")
def ground(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(f"http://127.0.0.1:{server.port}", tmp_path_factory.mktemp("workloads"))
    yield made
    made.servers.close()


class Restartable(Ground):
    """A ground whose server may crash."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(f"http://127.0.0.1:{server.port}", folder)
        self._server = server

    def restart(self) -> None:
        self._server.kill()
        self._server.start()


@pytest.fixture
def server_of_its_own(tmp_path: Path) -> Iterator[Restartable]:
    server = Server(tmp_path / "server")
    server.start()
    made = Restartable(server, tmp_path)
    yield made
    made.servers.close()
    server.stop()
    server.close()
