"""One HTTP request as the handlers see it, and the table that they are entered in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from aeterna_cli.lab.qdrant import wire
from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.node import Node
from aeterna_cli.lab.qdrant.refusals import Refusal, bad_format, standalone
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
        return self.node.collection(self.path("name"))

    @property
    def shard(self) -> Shard:
        return self.collection.shard(int(self.path("shard")))

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
