"""Providers that need nothing but a network: http, sql, process, wait_for, the markers."""

import time
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from aeterna_cli.errors import AeternaError, FailedError, TransientError
from aeterna_cli.workflows.dr_drill import tolerance
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.programs import Program, filled
from aeterna_cli.workflows.dr_drill.scenario import (
    Part,
    Probe,
    Seconds,
    StoreName,
    Tolerance,
    as_tolerance,
)
from aeterna_cli.workflows.dr_drill.surroundings import Surroundings


class Nothing(Part):
    """No arguments."""


class Free(Part):
    """Of a provider that is not there yet: whatever will be its arguments."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class Http(Part):
    url: Annotated[str, Field(max_length=2000)]
    method: Literal["GET", "HEAD", "POST", "PUT"] = "GET"
    json_body: Annotated[Any, Field(alias="json")] = None


def http(_around: Surroundings, asked: Http, limit: Limit) -> Any:
    """``{"status": ..., "body": ...}``."""
    from aeterna_cli.stores.http_question import ask

    return ask(asked.method, asked.url, max(0.1, limit.left), asked.json_body)


class Sql(Part):
    """One read-only statement as the profile's role."""

    query: Annotated[str, Field(min_length=1, max_length=4000)]


def sql(around: Surroundings, asked: Sql, limit: Limit) -> Any:
    """Its single value, its row, or its rows."""
    from aeterna_cli.stores.drill_postgres import question

    return question(around.ctx.profile.postgres, asked.query, max(0.1, limit.left))


class Process(Part):
    """An argument list. ``{drill}``, ``{folder}`` and ``{profile}`` are replaced."""

    command: Annotated[list[str], Field(min_length=1, max_length=100)]
    expect: Annotated[list[int], Field(default=[0], max_length=20)]


def process(around: Surroundings, asked: Process, limit: Limit) -> Any:
    """``{"exit": 0, "output": ...}``; ``FailedError('drill_program_failed')`` for another code."""
    name = f"process-{time.monotonic_ns()}"
    program = Program(filled(asked.command, around.values), around.folder, name, around.say)
    program.start()
    code = program.wait(limit)
    if code not in asked.expect:
        raise FailedError(
            "drill_program_failed", f"{program.words[0]} ended with {code}",
            hint=" ".join(program.said().split())[-300:],
        )  # fmt: skip
    return {"exit": code, "output": program.said()}


class WaitFor(Part):
    """A probe that is asked again until it holds or the action's time is over."""

    probe: Annotated[str, Field(pattern=r"^[a-z][a-z_.]{0,39}$")]
    arguments: dict[str, Any] = Field(default={}, alias="with")
    tolerance: Annotated[Tolerance, BeforeValidator(as_tolerance)]
    every: Annotated[Seconds, Field(ge=0.05)] = 0.5

    def as_probe(self) -> Probe:
        return Probe.model_validate(
            {"title": "wait", "probe": self.probe, "with": self.arguments,
             "tolerance": self.tolerance}
        )  # fmt: skip


def wait_for(around: Surroundings, asked: WaitFor, limit: Limit) -> Any:
    """The answer that held. A probe that fails is one that does not hold yet."""
    from aeterna_cli.workflows.dr_drill.providers import bind

    bound = bind(asked.as_probe())
    last = "it was never asked"

    def holds() -> bool:
        nonlocal last
        try:
            judged = tolerance.judge(asked.tolerance, bound.call(around, limit))
        except AeternaError as error:
            limit.check()
            last = f"{error.message} [{error.code}]"
            return False
        last = judged.found
        return judged.held

    try:
        limit.wait(holds, asked.every)
    except TransientError as error:
        if error.code == "drill_step_timeout":
            error.hint = f"wanted: {tolerance.words(asked.tolerance)}; last: {last}"
        raise
    return last


class MarkerLatest(Part):
    """Has this store acknowledged a marker lately?"""

    store: StoreName
    within: Seconds = 2


def marker_latest(around: Surroundings, asked: MarkerLatest, limit: Limit) -> Any:
    """How many markers were acknowledged while ``within`` passed; ends as soon as one was."""
    if around.writers is None:
        raise FailedError("drill_no_writers", "no writer runs here")
    before = around.writers.counts().get(asked.store, 0)
    until = time.monotonic() + min(asked.within, limit.left)
    while time.monotonic() < until:
        limit.check()
        now = around.writers.counts().get(asked.store, 0)
        if now > before:
            return now - before
        time.sleep(0.02)
    return 0


def declare_loss(around: Surroundings, _asked: Nothing, _limit: Limit) -> Any:
    """From this moment everything counts as lost; the application writes no more."""
    around.declare_lost()
    return "declared lost"
