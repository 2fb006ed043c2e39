"""Which components a deployment has, and why the others are left out."""

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.workflows.failover.component import COMPONENTS, Component, ComponentName


def chosen(text: str) -> tuple[ComponentName, ...]:
    """``all`` or one; ``UsageError('component_unknown')``."""
    if text == "all":
        return COMPONENTS
    for name in COMPONENTS:
        if text == name:
            return (name,)
    raise UsageError(
        "component_unknown",
        f"there is no component {text!r}",
        hint=f"one of {', '.join(COMPONENTS)}, or all",
    )


def opened(place: Deployment, name: ComponentName) -> Component:
    """``RefusedError`` where the profile describes no cluster of it."""
    if name == "postgres":
        from aeterna_cli.workflows.failover.postgres import PostgresComponent

        return PostgresComponent(place)
    if name == "redis":
        from aeterna_cli.workflows.failover.redis import RedisComponent

        return RedisComponent(place)
    if not place.profile.qdrant.peers:
        raise RefusedError(
            "not_clustered",
            f"the profile {place.name} names no Qdrant peers (qdrant.peers)",
            hint="a single server has no other one to go to",
        )
    from aeterna_cli.workflows.failover.qdrant import QdrantComponent

    seconds = float(place.profile.targets.rto_qdrant)
    return QdrantComponent(place.qdrant_cluster, place.profile.failover, copy_seconds=seconds)
