"""After the rollbacks: what every store still has, and what the logs say of it."""

import platform
import sys
from collections.abc import Callable, Mapping

from aeterna_cli import __version__
from aeterna_cli.errors import AeternaError
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.marker_log import MarkerHistory, log_name, read
from aeterna_cli.workflows.dr_drill.measure import Measured, Moments, of_restore, of_writes
from aeterna_cli.workflows.dr_drill.scenario import Scenario, StoreName
from aeterna_cli.workflows.dr_drill.surroundings import RestoredStore, Surroundings
from aeterna_cli.workflows.dr_drill.writers import open_markers

_READ = 60.0  # seconds until every store must let its markers be read


def measure(
    around: Surroundings, scenario: Scenario, moments: Moments
) -> tuple[list[Measured], list[str]]:
    """Each store of the writers, and notes about what could not be read."""
    restored = {one.store: one for one in around.restored}
    found: list[Measured] = []
    notes: list[str] = []
    for store in scenario.writers.stores:
        history = read(around.folder / log_name(store))
        if store in restored:
            found.append(_from_copy(restored[store], history, moments))
            continue
        if around.declared_lost is not None:  # that the real store still has them proves nothing
            notes.append(f"{store} was declared lost and did not come back")
            until = moments.ended
            found.append(of_restore(store, history, None, moments, at=None, until=until))
            continue
        numbers = _numbers(around, store, notes)
        found.append(of_writes(store, history, numbers, moments, scenario.writers.rate))
    around.say("measured", measured=found)
    return found, notes


def _from_copy(copy: RestoredStore, history: MarkerHistory, moments: Moments) -> Measured:
    at = None
    if copy.at is not None and history.intended:
        # both clocks were read for each line: the last one says how they lie to each other
        last = history.events[-1]
        at = copy.at - last.wall + last.mono
    return of_restore(
        copy.store, history, copy.found, moments, at=at, until=copy.verified, skew=copy.skew
    )


def _numbers(around: Surroundings, store: StoreName, notes: list[str]) -> set[int] | None:
    """Every marker in the store; None where it cannot be read within ``_READ``."""
    limit = Limit(_READ, None, f"reading the markers of {store}")
    last = ""
    result: set[int] | None = None

    def asked() -> bool:
        nonlocal last, result
        markers = open_markers(around.ctx.profile, store, around.drill, 15)
        try:
            result = markers.read()
        except AeternaError as error:
            last = error.message
            return False
        finally:
            markers.close()
        return True

    try:
        limit.wait(asked, 0.5)
    except AeternaError:
        notes.append(f"the markers of {store} could not be read: {last}")
    return result


def versions(around: Surroundings) -> Mapping[str, str]:
    """Of everything that took part; what does not answer is said to be unknown."""
    place = around.ctx.deployment
    servers: Mapping[str, Callable[[], str]] = {
        "postgres": lambda: place.postgres.identity().server_version,
        "redis": lambda: _redis(around),
        "qdrant": lambda: place.another_qdrant().identity().version,
    }
    found = {"aeterna-cli": __version__, "python": sys.version.split()[0],
             "system": platform.platform()}  # fmt: skip
    for name, ask in servers.items():
        try:
            found[name] = ask()
        except AeternaError as error:
            found[name] = f"unknown ({error.code})"
    return found


def _redis(around: Surroundings) -> str:
    identity = around.ctx.deployment.another_redis().identity()
    return f"{identity.flavour} {identity.version}"
