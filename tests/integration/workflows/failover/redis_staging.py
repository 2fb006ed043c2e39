"""Stages of Redis carried out in a process that is to be killed, and gone on with in another."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.operations.kill_points import VARIABLE
from aeterna_cli.settings import Profile, RedisSettings
from aeterna_cli.workflows.failover.component import Preflight, Request
from aeterna_cli.workflows.failover.redis import RedisComponent
from tests.integration.redis_trio import Trio
from tests.integration.stores.redis_server import PASSWORD
from tests.integration.workflows.failover.staging import Staging

MODULE = "tests.integration.workflows.failover.redis_staging"


def carried_out(made: RedisComponent, wanted: Request, file: Path) -> dict[str, Any]:
    """All stages, going on from ``file``: with the preflight of then, as the runner does."""
    known = file.with_suffix(".found")
    if known.exists():
        leader, candidate, facts = json.loads(known.read_text())
        found = Preflight("redis", made.status(), leader, candidate, (), facts)
    else:
        found = made.preflight(wanted)
        assert not found.refusals, found.refusals
        known.write_text(json.dumps([found.leader, found.candidate, dict(found.facts)]))
    return Staging(file).run(made.stages(wanted, found))


def killed_at(point: str, trio: Trio, wanted: Request, file: Path) -> bool:
    """Whether the process that began it died at this point."""
    words = [str(file), json.dumps(asdict(wanted)), *trio.settings().sentinels]
    ran = subprocess.run(
        [sys.executable, "-m", MODULE, *words],
        env={**os.environ, VARIABLE: point}, cwd=Path(__file__).parents[4], check=False,
    )  # fmt: skip
    return ran.returncode == -9


def main(file: str, request: str, *sentinels: str) -> None:
    settings = RedisSettings(
        sentinels=sentinels, sentinel_name="trio", password=PASSWORD, sentinel_password=PASSWORD,
        timeout=5,
    )  # fmt: skip
    place = Deployment("trio", Profile(redis=settings))
    carried_out(RedisComponent(place), Request(**json.loads(request)), Path(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
