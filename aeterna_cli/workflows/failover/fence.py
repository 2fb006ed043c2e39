"""Proof that a node which does not answer cannot write: the profile's own program says so."""

import os
import subprocess

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import FailedError, TransientError
from aeterna_cli.stores import helpers
from aeterna_cli.workflows.failover.wanted import Wanted


def proven(place: Deployment, wanted: Wanted) -> bool:
    """Runs ``failover.fence``; False where the profile has none.

    ``FailedError('fence_failed')`` where it ends with anything but 0: then nothing may be promoted.
    """
    words = place.profile.failover.fence
    if not words:
        return False
    timeout = place.profile.failover.hook_timeout
    facts = {"AETERNA_COMPONENT": wanted.component, "AETERNA_TO": wanted.to or ""}
    try:
        done = helpers.run(words, env={**os.environ, **facts}, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise TransientError(
            "fence_timeout", f"the program failover.fence did not end in {timeout:g} s"
        ) from None
    except OSError as error:
        raise FailedError(
            "fence_missing", f"the program failover.fence cannot be run: {error.strerror}"
        ) from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise FailedError(
            "fence_failed",
            f"the program failover.fence exited with {done.returncode}: nothing was promoted",
            hint=" ".join(last),
        )
    return True
