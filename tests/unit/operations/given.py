"""Plans over files, a repository that can go away, and children that can be killed."""

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aeterna_cli.errors import ConflictError, TransientError
from aeterna_cli.operations.confirm import Answers
from aeterna_cli.operations.identifiers import is_uuid7
from aeterna_cli.operations.journal import Record
from aeterna_cli.operations.kill_points import VARIABLE
from aeterna_cli.operations.lease import Holder, Lease, LeaseRequest, lease_key
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import RunEnvironment, kill_points
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.signals import Stop
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore

COMPONENT = "the work"
KEY = lease_key(COMPONENT)


def now() -> datetime:
    return datetime.now(UTC)


def no_terminal(question: str) -> str:
    raise AssertionError(f"asked without a terminal: {question}")


YES = Answers(yes=True, confirm_name=None, interactive=False, ask=no_terminal)


class Outage(DirectoryStore):
    """A directory store with a cable to pull. ``before`` and ``after`` see every write's key."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.before: Callable[[str], None] = lambda key: None
        self.after: Callable[[str], None] = lambda key: None

    def create(self, key: str, data: bytes) -> ObjectInfo:
        self.before(key)
        made = super().create(key, data)
        self.after(key)
        return made

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        self.before(key)
        made = super().replace(key, data, etag=etag)
        self.after(key)
        return made


def away(key: str) -> None:
    raise TransientError("repository_unreachable", f"no answer for {key}", hint="is it up?")


@dataclass
class Place:
    """A repository, a state folder, and what was said."""

    folder: Path
    store: Outage
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def around(self, **changes: Any) -> RunEnvironment:
        usual = RunEnvironment(
            store=self.store,
            state_directory=self.state,
            profile="prod-eu",
            environment="production",
            actor="ada@host",
            answers=YES,
            stop=self.stop,
            clock=now,
            emit=lambda event, fields: self.said.append((event, dict(fields))),
            reason="ticket 7",
        )
        return replace(usual, **changes)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.said if event == name]

    def lines(self) -> list[str]:
        """What the steps of ``three_steps`` did, in order."""
        log = self.work / "log"
        return log.read_text().split() if log.exists() else []

    def operations(self) -> list[str]:
        """The ids that this machine's state folder knows."""
        folder = self.state / "operations"
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if is_uuid7(p.name))

    def write(self, word: str) -> None:
        self.work.mkdir(exist_ok=True)
        with (self.work / "log").open("a") as log:
            log.write(f"{word}\n")


def kinds(records: list[Record]) -> list[str]:
    return [record.kind for record in records]


def plan_of(*steps: Step, **changes: Any) -> Plan:
    usual = Plan(
        kind="practice.run",
        summary="practise",
        target="prod-eu",
        danger=Danger.REVERSIBLE,
        facts={"version": 1},
        steps=steps,
        leases=(LeaseRequest(COMPONENT),),
        parameters={"steps": len(steps)},
    )
    return replace(usual, **changes)


def three_steps(place: Place, **changes: Any) -> Plan:
    """``first``; ``long``, which goes on after its last checkpoint; ``last``."""

    def first(run: StepRun) -> dict[str, int]:
        place.write("first")
        return {"made": 1}

    def long(run: StepRun) -> int:
        for number in range(1 + (run.last_checkpoint or 0), 4):
            place.write(f"long-{number}")
            run.checkpoint(number)
        return 3

    def last(run: StepRun) -> Mapping[str, Any]:
        place.write("last")
        return {"before": dict(run.results)}

    return plan_of(Step("first", first), Step("long", long), Step("last", last), **changes)


def put(place: Place, **changes: Any) -> Holder:
    """A holder on another machine as it would have written itself."""
    moment = place.store.now().isoformat()
    usual = {
        "operation": "theirs",
        "actor": "bob@far",
        "token": "t",
        "shared": False,
        "since": moment,
        "beat": moment,
        "process": "another-boot/ns/1/1",
    }
    holder = Holder(**{**usual, **changes})
    body = {
        "schema": "aeterna.lease/1",
        "component": COMPONENT,
        "fence": 7,
        "holders": [asdict(holder)],
    }
    place.store.create(lease_key(COMPONENT), json.dumps(body).encode())
    return holder


def lease(
    place: Place,
    operation: str = "one",
    *,
    shared: bool = False,
    heartbeat: float = 15.0,
    void: float = 60.0,
    store: Outage | None = None,
) -> Lease:
    return Lease(
        store or place.store,
        LeaseRequest(COMPONENT, shared),
        operation=operation,
        actor="ada@host",
        heartbeat=heartbeat,
        void=void,
    )


def until(condition: Callable[[], bool]) -> None:
    tick, deadline = threading.Event(), 10.0
    while not condition():
        tick.wait(0.01)
        deadline -= 0.01
        assert deadline > 0, "it never came"


def document(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.store.read(KEY))
    return found


def steal(place: Place) -> dict[str, Any]:
    """Put every holder out, however often their heartbeats are faster; the lease as it then is."""
    while True:
        etag = place.store.info(KEY).etag
        stolen = document(place) | {"holders": []}
        with suppress(ConflictError):
            place.store.replace(KEY, json.dumps(stolen).encode(), etag=etag)
            return stolen


def kill_points_of(*, checkpoints: int) -> list[str]:
    """Those of ``three_steps``, whose checkpoints are journal records as well."""
    step = Step("", lambda run: None)
    steps = [replace(step, name=name) for name in ("first", "long", "last")]
    points = list(kill_points(plan_of(*steps)))
    records = 1 + 2 * len(steps) + 1
    more = range(records, records + checkpoints)
    return points + [f"journal:{n}:{side}" for n in more for side in ("before", "after")]


@dataclass(frozen=True)
class Say:
    """A child's line to its parent."""

    number: int

    def __call__(self, word: str) -> None:
        os.write(self.number, f"{word}\n".encode())


@dataclass(frozen=True)
class Wait:
    """Until the parent says go, or is gone."""

    number: int

    def __call__(self) -> None:
        os.read(self.number, 1)


class Child:
    """A real process that runs ``work``."""

    def __init__(self, work: Callable[[Say, Wait], None]) -> None:
        out, say = os.pipe()
        wait, go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(out)
            os.close(go)
            _live(work, say, wait)
        os.close(say)
        os.close(wait)
        self._out = os.fdopen(out)
        self._go = os.fdopen(go, "w")

    def line(self) -> str:
        return self._out.readline().rstrip("\n")

    def go(self) -> None:
        self._go.write("\n")
        self._go.flush()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.end() == -signal.SIGKILL

    def end(self) -> int:
        """Its exit code, negative for a signal, after what waits was told to go on."""
        with suppress(BrokenPipeError):  # it may be gone; another child may have the pipe, too
            self.go()
        with suppress(BrokenPipeError):
            self._go.close()
        _pid, status = os.waitpid(self.pid, 0)
        self._out.close()
        return os.waitstatus_to_exitcode(status)


def killed_at(point: str, work: Callable[[], object]) -> bool:
    """Whether a process that does this work dies at this point (else it must end well)."""

    def run(_say: object, _wait: object) -> None:
        os.environ[VARIABLE] = point
        work()

    code = Child(run).end()
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _live(work: Callable[[Say, Wait], None], say: int, wait: int) -> None:
    code = 1
    try:
        work(Say(say), Wait(wait))
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)
