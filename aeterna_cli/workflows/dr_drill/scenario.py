"""What a drill's scenario file may say: every key, its type, its bounds. Nothing else is accepted.

The shape is that of a chaos experiment: a steady state that holds before and after, a method that
breaks something, rollbacks that always run, and the objectives that it is judged by.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

StoreName = Literal["postgres", "redis", "qdrant"]
STORES: tuple[StoreName, ...] = ("postgres", "redis", "qdrant")
Need = Literal["lab", "lab-ha", "patroni", "sentinel", "qdrant-peers", "kubernetes", "repository",
               "s3", "standby-region"]  # fmt: skip
Phase = Literal["detection", "decision", "action", "verification"]
_DAY = 86_400.0


def _duration(value: Any) -> float:
    """``90s``, ``5m`` or a number of seconds."""
    from aeterna_cli.errors import UsageError
    from aeterna_cli.workflows import words

    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a duration like 90s, or a number of seconds")
    try:
        return words.seconds(value) if isinstance(value, str) else float(value)
    except UsageError as error:
        raise ValueError(f"{error.message} ({error.hint})") from None


Seconds = Annotated[float, BeforeValidator(_duration), Field(ge=0, le=_DAY)]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=4000)]
Provider = Annotated[str, Field(pattern=r"^[a-z][a-z_.]{0,39}$")]


class Part(BaseModel):
    """A part of a scenario. A misspelt key must never be a check that is silently not made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Objective(Part):
    """Seconds; what is left out is the profile's target."""

    rto: Seconds | None = None
    rpo: Seconds | None = None


class Writers(Part):
    """Numbered markers, written as the application writes. ``rate`` is markers a second of each
    store, ``timeout`` how long an attempt may take, ``warm_up`` how many must be acknowledged
    before anything is broken."""

    stores: Annotated[list[StoreName], Field(min_length=1)]
    rate: Annotated[float, Field(gt=0, le=200)] = 10
    timeout: Annotated[Seconds, Field(ge=0.1)] = 2
    warm_up: Annotated[int, Field(ge=1, le=10_000, alias="warm-up")] = 20


class Tolerance(Part):
    """What a probe's answer must be: exactly one of the four, of the value at ``at`` or of all."""

    at: Annotated[str, Field(max_length=200)] = ""
    equals: Any = None
    one_of: list[Any] | None = None
    range: Annotated[list[float | None], Field(min_length=2, max_length=2)] | None = None
    regex: Annotated[str, Field(max_length=500)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Tolerance":
        chosen = self.model_fields_set & {"equals", "one_of", "range", "regex"}
        if len(chosen) != 1:
            raise ValueError("needs exactly one of equals, one_of, range, regex")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"regex: {error}") from None
        return self


def as_tolerance(value: Any) -> Any:
    """A scalar means equals, a list one of these."""
    if isinstance(value, dict):
        return value
    return {"one_of": value} if isinstance(value, list) else {"equals": value}


class Probe(Part):
    """A question and the answer that is wanted."""

    title: Line
    probe: Provider
    arguments: dict[str, Any] = Field(default={}, alias="with")
    tolerance: Annotated[Tolerance, BeforeValidator(as_tolerance)]
    timeout: Annotated[Seconds, Field(gt=0)] = 10


class Action(Part):
    """Something done. ``fault``: the objectives are measured from when it begins."""

    title: Line
    action: Provider
    arguments: dict[str, Any] = Field(default={}, alias="with")
    timeout: Annotated[Seconds, Field(gt=0)] = 60
    phase: Phase | None = None
    fault: bool = False


class Pause(Part):
    """A duration that is part of the experiment; ``why`` says so. Waiting for something to become
    true is the action ``wait_for``."""

    pause: Annotated[Seconds, Field(gt=0)]
    why: Line


class Load(Part):
    """A program that works in the background while the method runs. ``summary`` is the JSON file
    that it writes below the drill's folder; its rate and its p99 enter the evidence."""

    title: Line
    command: Annotated[list[str], Field(min_length=1, max_length=100)]
    summary: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    must_pass: Annotated[bool, Field(alias="must-pass")] = False


class Hypothesis(Part):
    """``within``: how long the steady state may take to hold again after the method."""

    title: Line
    probes: Annotated[list[Probe], Field(min_length=1, max_length=50)]
    within: Seconds = 60


def _kind(value: Any) -> str:
    pause = isinstance(value, Pause) or (isinstance(value, dict) and "pause" in value)
    return "pause" if pause else "action"


Step = Annotated[
    Annotated[Action, Tag("action")] | Annotated[Pause, Tag("pause")], Discriminator(_kind)
]


class Scenario(Part):
    """One drill. ``emulated`` says what is not real where it runs, and is shown with the result."""

    title: Line
    description: Text
    scope: Line
    needs: list[Need] = []
    seed: int | None = None
    objectives: dict[StoreName, Objective] = {}
    writers: Writers
    hypothesis: Hypothesis = Field(alias="steady-state")
    load: Annotated[list[Load], Field(max_length=5)] = []
    method: Annotated[list[Step], Field(min_length=1, max_length=100)]
    rollbacks: Annotated[list[Action], Field(max_length=50)] = []
    emulated: Text = ""

    @model_validator(mode="after")
    def _whole(self) -> "Scenario":
        for store in self.objectives:
            if store not in self.writers.stores:
                raise ValueError(f"objectives.{store}: nothing is written to it, nothing measured")
        return self
