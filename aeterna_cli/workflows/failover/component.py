"""What PostgreSQL, Redis and Qdrant have in common when a node must go: a topology, and stages.

``failover`` talks to components only. A component reads its own servers, refuses what must not be
done, and says in which stages it is done; it never asks anybody, and it changes nothing outside of
a stage.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.stores.base.findings import Finding

ComponentName = Literal["postgres", "redis", "qdrant"]
COMPONENTS: tuple[ComponentName, ...] = ("postgres", "redis", "qdrant")
#: ``switchover``: planned, everything is well and must stay so; ``failover``: the primary is gone.
Intent = Literal["switchover", "failover"]
Role = Literal["primary", "synchronous", "replica", "standby-leader", "sentinel", "peer", "unknown"]


@dataclass(frozen=True)
class Node:
    """One server as it answers now. Lag is against the primary; None where nobody can tell.

    ``state`` is the component's own word (``running``, ``streaming``, ``Active``, ...), and
    ``healthy`` what it means. ``timeline`` is PostgreSQL's. ``zone`` is where node labels say so.
    """

    name: str
    address: str
    role: Role
    state: str
    healthy: bool
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    timeline: int | None = None
    zone: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """What would be lost if the primary died now. ``certain`` False: an upper bound by the replicas
    that answer. ``message`` is for people."""

    bytes: int | None
    seconds: float | None
    certain: bool
    message: str


@dataclass(frozen=True)
class ComponentStatus:
    """A component as it is now. ``findings`` are its deviations from the target topology; an
    ``error`` is one that makes a switchover unsafe. ``emulated`` says what is not real here."""

    component: ComponentName
    nodes: tuple[Node, ...]
    primary: str | None
    findings: tuple[Finding, ...] = ()
    loss: Loss | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    emulated: str = ""

    def node(self, name: str) -> Node | None:
        return next((one for one in self.nodes if one.name == name), None)


@dataclass(frozen=True)
class Request:
    """What the operator wants. ``accept_loss`` is bytes; ``fenced`` that the fence is proven."""

    intent: Intent
    to: str | None = None
    accept_loss: int | None = None
    fenced: bool = False


@dataclass(frozen=True)
class Preflight:
    """What was found before anything is written. ``refusals`` (severity error) forbid it.

    ``facts`` is everything that the stages rest on, as JSON types: it enters the plan's
    fingerprint, so it names the leader, the candidate and the timeline, and no counters.
    """

    component: ComponentName
    status: ComponentStatus
    leader: str | None
    candidate: str | None
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.severity == "error")


@dataclass(frozen=True)
class Stage:
    """One named piece of a switchover.

    ``check`` raises a typed error where the stage must not begin any more (the world moved since
    the preflight); ``do`` may be repeated after a crash and returns JSON; ``verify`` raises unless
    the effect is there, by what the servers say and never by the answer to ``do``. ``undo`` leaves
    what was there before. ``limit`` is seconds for all of it.
    """

    name: str
    do: Callable[[StepRun], Any]
    limit: float
    check: Callable[[StepRun], None] | None = None
    verify: Callable[[StepRun], None] | None = None
    undo: Callable[[StepRun], None] | None = None
    note: str = ""


class Component(Protocol):
    """One store's nodes. Constructing it contacts nothing."""

    name: ComponentName

    def close(self) -> None: ...

    def status(self) -> ComponentStatus:
        """The topology now, with whatever part of it answers; a node that does not is a node with
        ``healthy`` False, and only wrong credentials or settings raise."""

    def preflight(self, request: Request) -> Preflight:
        """All checks for this request; reads only. Everything found is returned, not raised.

        ``UsageError('node_unknown')`` with the closest names for ``request.to``.
        """

    def stages(self, request: Request, found: Preflight) -> tuple[Stage, ...]:
        """How it is done, for a preflight without refusals."""

    def new_primary(self) -> str | None:
        """Who serves writes now, by the servers' own word; None where nobody or several do."""
