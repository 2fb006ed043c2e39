"""One HTTP request as the handlers see it, and the table that they are entered in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from aeterna_cli.lab.qdrant import wire
from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.node import Node
from aeterna_cli.lab.qdrant.peers import AGREEMENT_SECONDS
from aeterna_cli.lab.qdrant.refusals import Refusal, bad_format, bad_input, not_found, standalone
from aeterna_cli.lab.qdrant.shard import Shard

#: The server's default for JSON bodies; uploads are not limited.
BODY_LIMIT = 32 << 20


@dataclass
class Call:
    node: Node
    request: Request
    #: What a fault switch wants to happen to the answer: ``truncate``, ``lost`` or nothing.
    fault: str | None = None

    @property
    def version(self) -> Any:
        return self.node.version

    @property
    def collection(self) -> Collection:
        found = self.node.collection(self.path("name"))
        memory = self.node.peers.asked.memory
        if memory is not None and found.name not in memory:
            raise not_found(f"Collection `{self.path('name')}` doesn't exist!")
        return found

    @property
    def shard(self) -> Shard:
        found = self.collection.shard(int(self.path("shard")))
        if self.node.peers.asked.id not in found.replicas.states:
            raise bad_input(f"Shard {found.id} is not a local shard")
        return found

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def wait(self, default: bool) -> bool:
        found = self.query("wait")
        if found not in (None, "true", "false"):
            raise Refusal(400, f"Deserialize error in query parameters: wait={found}")
        return default if found is None else found == "true"

    def require_cluster(self) -> None:
        if not self.node.cluster:
            raise standalone()

    @property
    def ordering(self) -> str:
        found = self.query("ordering") or "weak"
        if found not in ("weak", "medium", "strong"):
            raise Refusal(400, f"Deserialize error in query parameters: ordering={found}")
        return found

    @property
    def patience(self) -> float:
        """How long this request waits for consensus, in seconds."""
        found = self.query("timeout")
        if found is None:
            return AGREEMENT_SECONDS
        if not found.isdigit() or int(found) < 1:
            raise Refusal(400, f"Deserialize error in query parameters: timeout={found}")
        return float(found)

    async def body(self) -> dict[str, Any]:
        """The JSON object of the request; ``Refusal`` 400 for anything else."""
        if self.request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise Refusal(400, "Content type error")
        text = await self.request.body()
        if len(text) > BODY_LIMIT:
            raise Refusal(
                400,
                f"Payload error: JSON payload ({len(text)} bytes) is larger than allowed "
                f"(limit: {BODY_LIMIT} bytes).",
            )
        try:
            document = wire.loads(text)
        except ValueError as error:
            raise bad_format(str(error)) from error
        if not isinstance(document, dict):
            raise bad_format("invalid type, expected a map")
        return document


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Entry:
    """``handler`` answers with the envelope's result or with a whole response."""

    method: str
    path: str
    handler: Handler
    #: The first version that answers it; before, it is a path that does not exist.
    feature: str | None = None
    #: Whether it changes what all peers agree on, and so needs a majority of them.
    consensus: bool = False
