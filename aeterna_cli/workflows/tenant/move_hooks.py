"""The programs of the contract ``maintenance``: hold, switch, release. Argument lists, no shell."""

import os
import subprocess
from typing import Literal

from aeterna_cli.errors import FailedError, TransientError
from aeterna_cli.stores import helpers
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_places import Spot, settings_of

Verb = Literal["hold", "switch", "release"]


def run_hook(move: TenantMove, verb: Verb, leaving: Spot, going: Spot) -> None:
    """The program ended with 0 when this returns. It may be run again after a crash.

    ``TransientError('hook_timeout')``, ``FailedError('hook_missing' | 'hook_failed')``.
    """
    words = getattr(move.place.profile.application, verb)
    timeout = move.place.profile.server_control.timeout
    try:
        done = helpers.run(
            words, env={**os.environ, **facts(move, leaving, going)}, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise TransientError(
            "hook_timeout", f"the program application.{verb} did not end in {timeout:g} s"
        ) from None
    except (OSError, IndexError) as error:
        raise FailedError(
            "hook_missing", f"the program application.{verb} cannot be run: {error}"
        ) from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise FailedError(
            "hook_failed",
            f"the program application.{verb} exited with {done.returncode}",
            hint=" ".join(last),
        )


def facts(move: TenantMove, leaving: Spot, going: Spot) -> dict[str, str]:
    """What a program needs to know, without secrets."""
    return {
        "AETERNA_MOVE_TENANT": move.tenant.id,
        "AETERNA_MOVE_SLUG": move.tenant.slug,
        "AETERNA_MOVE_SOURCE": leaving.shard,
        "AETERNA_MOVE_TARGET": going.shard,
        "AETERNA_MOVE_SHARD": going.shard,
        "AETERNA_MOVE_COLLECTION": going.collection,
        "AETERNA_MOVE_SHARD_KEY": going.shard_key or "",
        "AETERNA_MOVE_URL": settings_of(move.place, going.server).url,
    }
