"""A lab Qdrant as a process of its own, and plain HTTP to it."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx  # noqa: TID253 - a test has no start-up to keep short

TransportError = httpx.TransportError
DENSE = {"vectors": {"size": 4, "distance": "Cosine"}}


class Server:
    """``kill`` is a crash, ``stop`` a clean end; ``start`` again on the same data after either."""

    def __init__(self, folder: Path, *words: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.data, self.log, self.words = folder / "data", folder / "log", words
        folder.mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.http = self.client()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def launch(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "aeterna_cli.lab.qdrant", "--data-dir", str(self.data)]
        command += ["--port", str(self.port), *self.words]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def start(self) -> None:
        self.process = self.launch()
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                if self.http.get("/readyz").status_code == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def close(self) -> None:
        self.kill()
        self.http.close()

    # Requests

    def clean(self) -> None:
        """No faults, no collections, and none of their snapshots, which outlive them."""
        self.ask("DELETE", "/lab/faults")
        for one in self.ask("GET", "/collections")["collections"]:
            path = f"/collections/{one['name']}"
            for shard in self.shards(one["name"]):
                folder = f"{path}/shards/{shard}/snapshots"
                for snapshot in self.ask("GET", folder):
                    self.ask("DELETE", f"{folder}/{snapshot['name']}")
            self.ask("DELETE", path)

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The answer's ``result``, or the error's text when another status is expected."""
        return self._result(self.http.request(method, path, json=body), status)

    @staticmethod
    def _result(answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
        document = answer.json() if answer.text else {}
        return document["status"]["error"] if status >= 400 else document.get("result")

    def upsert(self, name: str, ids: Any, key: Any = None, status: int = 200) -> Any:
        points = [{"id": n, "vector": [n, 1, 2, 3], "payload": {"n": n, "t": "a"}} for n in ids]
        body = {"points": points, **({} if key is None else {"shard_key": key})}
        return self.ask("PUT", f"/collections/{name}/points?wait=true", body, status)

    def count(self, name: str, **body: Any) -> int:
        body = {"exact": True, **body}
        return int(self.ask("POST", f"/collections/{name}/points/count", body)["count"])

    def ids(self, name: str, **body: Any) -> list[Any]:
        """All ids, page by page."""
        found: list[Any] = []
        offset = None
        while True:
            page = {"limit": 7, "offset": offset, **body}
            result = self.ask("POST", f"/collections/{name}/points/scroll", page)
            found += [point["id"] for point in result["points"]]
            offset = result["next_page_offset"]
            if offset is None:
                return found

    def shards(self, name: str) -> dict[int, tuple[Any, str]]:
        """Key and state of every shard by its id."""
        local = self.ask("GET", f"/collections/{name}/cluster")["local_shards"]
        return {one["shard_id"]: (one.get("shard_key"), one["state"]) for one in local}

    def stream(self, name: str, shard: int) -> bytes:
        answer = self.http.get(f"/collections/{name}/shards/{shard}/snapshot")
        assert answer.status_code == 200, answer.text
        return answer.content

    def upload(self, path: str, content: bytes, **query: str) -> httpx.Response:
        files = {"snapshot": ("a.snapshot", content)}
        return self.http.post(f"{path}/snapshots/upload", files=files, params=query)


@contextlib.contextmanager
def running(folder: Path, *words: str) -> Iterator[Server]:
    server = Server(folder, *words)
    try:
        server.start()
        yield server
    finally:
        server.close()
