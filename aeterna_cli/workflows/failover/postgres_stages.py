"""How PostgreSQL is switched: Patroni is asked, and the servers are believed."""

from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import ConflictError, DegradedError, TransientError
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.stores.base.patroni import Asked
from aeterna_cli.workflows.failover.component import Preflight, Request, Stage
from aeterna_cli.workflows.failover.waiting import settled

if TYPE_CHECKING:
    from aeterna_cli.workflows.failover.postgres import PostgresComponent

#: Patroni itself polls 2 x max(10, loop_wait) seconds and then says that it does not know
_ANSWER = 30.0
_SWITCH = 60.0
_REJOIN = 120.0


def stages(component: "PostgresComponent", request: Request, found: Preflight) -> tuple[Stage, ...]:
    """For a preflight without refusals, so the candidate is known."""
    candidate, leader = found.candidate or "", found.leader
    work = _Switch(component, request, candidate, leader)
    note = f"from {leader or 'nobody'} to {candidate}"
    return (
        Stage("postgres:switch", work.switch, _SWITCH, work.check, work.verify, note=note),
        Stage("postgres:rejoin", work.rejoin, _REJOIN, note="the old primary follows again"),
    )


class _Switch:
    """Every part of it looks first whether it was done before a crash."""

    def __init__(
        self, component: "PostgresComponent", request: Request, candidate: str, leader: str | None
    ) -> None:
        self._component = component
        self._request = request
        self._candidate = candidate
        self._leader = leader

    def check(self, _run: StepRun) -> None:
        """``ConflictError('leader_moved')``: somebody else switched it meanwhile."""
        now = self._leads()
        if now not in (self._leader, self._candidate, None):
            raise ConflictError(
                "leader_moved",
                f"{now} leads by now; the plan was made while {self._leader} did",
                next_steps=["aeterna-cli failover status --component postgres"],
            )

    def switch(self, run: StepRun) -> dict[str, Any]:
        """The candidate takes writes when this returns, whatever Patroni answered."""
        if self._component.new_primary() == self._candidate:
            return {"primary": self._candidate, "asked": False}
        asked = self._ask()
        kill_point("failover:postgres:asked")
        run.emit("patroni_answered", status=asked.status, message=asked.message)
        if not settled(lambda: self._component.new_primary() == self._candidate, _ANSWER, run):
            now = self._component.new_primary()
            raise TransientError(
                "switch_not_seen",
                f"Patroni answered {asked.status or 'nothing'}, but {now or 'nobody'} takes writes"
                f" after {_ANSWER:.0f} s, not {self._candidate}",
                hint=asked.message,
                next_steps=["aeterna-cli failover status --component postgres"],
            )
        return {"primary": self._candidate, "asked": True, "answer": asked.status}

    def _ask(self) -> Asked:
        patroni = self._component.patroni
        if self._leader is not None and self._request.intent == "switchover":
            return patroni.switchover(self._leader, self._candidate, _ANSWER)
        return patroni.failover(self._candidate, _ANSWER)

    def verify(self, _run: StepRun) -> None:
        """By the servers: one takes writes, and every living Patroni calls it the leader."""
        if not settled(lambda: self._leads() == self._candidate, _SWITCH):
            raise TransientError(
                "leader_not_agreed",
                f"{self._candidate} takes writes, and Patroni's nodes do not all say so yet",
                next_steps=["aeterna-cli failover status --component postgres"],
            )

    def rejoin(self, run: StepRun) -> dict[str, Any]:
        """``DegradedError('redundancy_reduced')``: it is switched, and a node is missing."""
        whole = settled(self._whole, _REJOIN if self._planned else _ANSWER, run)
        status = self._component.status()
        found = {
            "primary": status.primary,
            "timeline": status.facts.get("timeline"),
            "nodes": {one.name: one.role for one in status.nodes},
        }
        if not whole:
            missing = [one.name for one in status.nodes if not one.healthy] or ["a standby"]
            raise DegradedError(
                "redundancy_reduced",
                f"{self._candidate} serves, but {', '.join(missing)} does not follow it",
                hint="the next failure may lose data; bring the node back",
                next_steps=["aeterna-cli failover status --component postgres"],
                details=found,
            )
        return found

    @property
    def _planned(self) -> bool:
        return self._request.intent == "switchover"

    def _whole(self) -> bool:
        status = self._component.status()
        codes = {one.code for one in status.findings if one.severity == "error"}
        return not codes and all(one.healthy for one in status.nodes)

    def _leads(self) -> str | None:
        from aeterna_cli.stores.patroni import living
        from aeterna_cli.workflows.failover.postgres import leader_of

        views = living(self._component.patroni.views())
        leaders = {leader.name for view in views if (leader := leader_of(view.members))}
        return leaders.pop() if len(leaders) == 1 else None
