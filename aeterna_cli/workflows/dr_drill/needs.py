"""What a scenario needs that this deployment may not have: refused by name, never skipped."""

from collections.abc import Callable, Mapping

from aeterna_cli.errors import RefusedError
from aeterna_cli.settings import Profile
from aeterna_cli.workflows.dr_drill.lab_faults import KINDS
from aeterna_cli.workflows.dr_drill.provide_lab import Fault
from aeterna_cli.workflows.dr_drill.providers import bind, used
from aeterna_cli.workflows.dr_drill.scenario import Action, Need, Scenario


def reasons(scenario: Scenario, profile: Profile) -> tuple[str, ...]:
    """Why this drill cannot run here, every reason in words; nothing where it can."""
    found = []
    providers = used(scenario)
    wanted = [*scenario.needs, *(need for _name, one in providers for need in one.needs)]
    for need in dict.fromkeys(wanted):
        why = _CHECKS[need](profile)
        if why:
            found.append(f"needs {need}: {why}")
    found += [
        f"lab.fault {one}: the labs of this version know {', '.join(KINDS)}"
        for one in sorted(_fault_kinds(scenario) - set(KINDS))
    ]
    found += [f"{name}: {one.missing}" for name, one in providers if one.missing]
    return tuple(found)


def _fault_kinds(scenario: Scenario) -> set[str]:
    steps = [step for step in (*scenario.method, *scenario.rollbacks) if isinstance(step, Action)]
    bound = [bind(step).arguments for step in steps if step.action == "lab.fault"]
    return {one.kind for one in bound if isinstance(one, Fault)}


def refuse(name: str, scenario: Scenario, profile: Profile) -> None:
    """``RefusedError('drill_not_possible')`` with every reason."""
    why = reasons(scenario, profile)
    if why:
        raise RefusedError(
            "drill_not_possible",
            f"the drill {name} cannot run here: {'; '.join(why)}",
            next_steps=["aeterna-cli dr-drill list"],
            details={"reasons": list(why)},
        )


def _lab(profile: Profile) -> str:
    return "" if profile.server_control.kind == "lab" else "this profile is no lab"


def _highly_available(profile: Profile) -> str:
    if profile.patroni.urls and profile.redis.sentinels:
        return ""
    return "this lab is no highly-available one (`lab up --ha`)"


_CHECKS: Mapping[Need, Callable[[Profile], str]] = {
    "lab": _lab,
    "lab-ha": lambda one: _lab(one) or _highly_available(one),
    "patroni": lambda one: "" if one.patroni.urls else "patroni.urls is not set",
    "sentinel": lambda one: "" if one.redis.sentinels else "redis.sentinels is not set",
    "qdrant-peers": lambda one: "" if len(one.qdrant.peers) > 1 else "qdrant.peers is not set",
    "kubernetes": lambda _one: "this version has no Kubernetes provider",
    "repository": lambda one: "" if one.repository.url else "repository.url is not set",
    "s3": lambda one: (
        "" if one.repository.url.startswith("s3://") else "the repository is no bucket"
    ),
    "standby-region": lambda one: "" if one.regions else "regions names no standby region",
}
