"""``python -m aeterna_cli.lab.qdrant``: serve a data directory until SIGTERM or SIGINT."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeterna_cli.errors import AeternaError, ExitCode, UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from aeterna_cli.lab.qdrant.application import Keys
    from aeterna_cli.lab.qdrant.node import Node
    from aeterna_cli.lab.qdrant.peers import Peer

LOOPBACK = "127.0.0.1"
#: Requests that still run at the end have this long; then the shards are flushed and closed.
GRACE_SECONDS = 5


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m aeterna_cli.lab.qdrant", description=__doc__)
    parser.add_argument("--data-dir", "--data", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--peer-port",
        type=int,
        action="append",
        default=[],
        help="the port of one more peer of the emulated cluster; may be repeated",
    )
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--version", help="the server version to imitate, 1.12.0 to 1.19.x")
    parser.add_argument("--api-key-file", type=Path, help="demand this key")
    parser.add_argument("--read-only-api-key-file", type=Path, help="a key that may only read")
    parser.add_argument("--standalone", action="store_true", help="cluster mode off")
    parser.add_argument("--allow-faults", action="store_true", help="serve /lab/faults")
    return parser.parse_args(words)


def _key(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        key = path.read_text().strip()
    except OSError as error:
        raise UsageError("lab_qdrant_key", f"the key file {path} cannot be read") from error
    if not key:
        raise UsageError("lab_qdrant_key", f"the key file {path} is empty")
    return key


def serve(options: argparse.Namespace) -> None:
    """Returns after a clean stop: everything acknowledged is flushed."""
    import uvicorn

    from aeterna_cli.lab.qdrant.application import Keys, application
    from aeterna_cli.lab.qdrant.node import Node
    from aeterna_cli.lab.qdrant.versions import DEFAULT, Version

    keys = Keys(_key(options.api_key_file), _key(options.read_only_api_key_file))
    node = Node(
        options.data_dir.resolve(),
        Version.parse(options.version or DEFAULT),
        cluster=not options.standalone,
        allow_faults=options.allow_faults,
        ports=[options.port, *options.peer_port] if options.peer_port else (),
    )
    if options.peer_port:
        _serve_peers(node, keys, options.host)
        return
    # uvicorn shuts down on SIGTERM and then raises it again: the end of a clean stop is exit 0.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(ExitCode.DONE))
    uvicorn.run(
        application(node, keys),
        host=options.host,
        port=options.port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=60,
    )


def _serve_peers(node: "Node", keys: "Keys", host: str) -> None:
    import asyncio

    from aeterna_cli.lab.qdrant import listeners
    from aeterna_cli.lab.qdrant.application import application

    def of(peer: "Peer") -> "Starlette":
        return application(node, keys, peer)

    asyncio.run(listeners.serve(node, of, host, GRACE_SECONDS))


def main() -> int:
    try:
        serve(arguments())
    except AeternaError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)  # noqa: T201 - its only channel
        return int(error.exit_code)
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
