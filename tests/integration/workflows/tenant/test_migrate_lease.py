"""The lease on a tenant is lost in the middle of its move: hands off, and go on another time."""

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict

import pytest

from aeterna_cli.operations.lease import Holder, lease_key, living_holders
from aeterna_cli.workflows import leases
from tests.integration.lab.workload.ground import until, written
from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SLUG, SOURCE, Moves

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def taken_over(move: Moves, *, by: str | None) -> None:
    """Somebody else (None: nobody) holds the lease from now on, whoever had it."""
    with closing(move.practice.open()) as place:
        key = lease_key(leases.tenant(move.tenant))
        document = json.loads(place.objects.read(key))
        now = place.objects.now().isoformat()
        other = Holder(by or "", "somebody", "f" * 32, False, now, now, "")
        document["holders"] = [asdict(other)] if by else []
        etag = place.objects.info(key).etag
        place.objects.replace(key, json.dumps(document).encode(), etag=etag)


def started(move: Moves, *words: str) -> "subprocess.Popen[bytes]":
    named = ["tenant", *words, "--tenant-id", move.tenant, "--yes", "-o", "json"]
    return subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", *named],
        env={**os.environ, **move.practice.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def copying(move: Moves) -> bool:
    with closing(move.practice.open()) as place:
        held = living_holders(place.objects, leases.tenant(move.tenant))
    return bool(held) and move.steer("status")["copied"] > 0


def test_who_lost_the_lease_stops_and_the_same_command_goes_on(begin: Begin) -> None:
    """Found out at the next heartbeat, within 15 s; a copy at one percent takes longer."""
    with begin("dual", hold_limit=2.0) as move, move.workload() as workload:
        workload.prepare(2000)
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 10)
        process = started(move, "migrate", "--to-shard", "to", "--pace", "1")
        until(lambda: copying(move))
        taken_over(move, by="somebody-elses")
        _, said = process.communicate(timeout=60)
        assert process.returncode == 3, said
        assert json.loads(said.splitlines()[-1])["error"]["code"] == "lease_lost"
        before = move.steer("status")
        assert (before["phase"], before["state"]) == ("copy", "dual")
        assert move.refused("migrate", "--to-shard", "to") == (3, "lease_held")
        after = move.steer("status")
        assert (after["phase"], after["copied"]) == (before["phase"], before["copied"])
        taken_over(move, by=None)
        assert move.migrate("--wait")["served_by"] == "to"
        written(workload, tenant, 10)
        workload.stop()
        assert move.steer("complete", "--confirm", SLUG)["phase"] == "complete"
        verdict = move.judged(workload, SOURCE)
        assert verdict.data_clean, verdict.counts()
        assert not verdict.client_errors
