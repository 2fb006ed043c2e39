"""What a command gets: its flags, the profile, the streams, and stores that open on first use."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aeterna_cli.signals import Stop

if TYPE_CHECKING:
    from pathlib import Path

    from aeterna_cli.deployment import Deployment
    from aeterna_cli.operations.confirm import Answers
    from aeterna_cli.operations.runner import RunEnvironment
    from aeterna_cli.output.console import Output
    from aeterna_cli.profiles import LoadedProfile
    from aeterna_cli.settings import Profile


#: what a runner could not do beside its work, in words
_FAULTS = {
    "abandon_failed": "a dead operation could not be marked abandoned",
    "upload_failed": "journal records of an earlier outage still wait for the repository",
    "end_not_recorded": "how this operation ended could not be recorded",
}


@dataclass(frozen=True)
class Flags:
    """The shared flags as they were typed. Commands that only read have the defaults."""

    profile: str | None = None
    output: str | None = None
    quiet: bool = False
    debug: bool = False
    dry_run: bool = False
    yes: bool = False
    reason: str | None = None
    change: str | None = None
    confirm: str | None = None
    break_glass: str | None = None


def actor() -> str:
    """Who does this: ``AETERNA_ACTOR`` (a person or service identity), else user@host."""
    import getpass
    import socket

    named = os.environ.get("AETERNA_ACTOR")
    return named or f"{getpass.getuser()}@{socket.gethostname()}"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Context:
    """One command's surroundings. Nothing is opened before it is asked for."""

    def __init__(self, flags: Flags, out: "Output", loaded: "LoadedProfile | None") -> None:
        self.flags = flags
        self.out = out
        self.stop = Stop()
        self.clock = utc_now
        self._loaded = loaded
        self._deployments: list[Deployment] = []

    @classmethod
    @contextmanager
    def open(cls, flags: Flags, *, needs_profile: bool) -> Iterator["Context"]:
        """The context of one command; closes what the command opened."""
        from aeterna_cli import profiles
        from aeterna_cli.output.console import Output

        out = Output(flags.output, quiet=flags.quiet)
        loaded = profiles.load(flags.profile) if needs_profile else None
        context = cls(flags, out, loaded)
        context.stop.install()
        try:
            yield context
        finally:
            out.close()
            context.close()

    @property
    def loaded(self) -> "LoadedProfile":
        if self._loaded is None:
            from aeterna_cli import profiles

            self._loaded = profiles.load(self.flags.profile)
        return self._loaded

    @property
    def profile_name(self) -> str:
        return self.loaded.name

    @property
    def profile(self) -> "Profile":
        profile: Profile = self.loaded.values
        return profile

    @property
    def state_directory(self) -> "Path":
        from aeterna_cli import profiles

        return profiles.state_directory(self.profile_name)

    @cached_property
    def deployment(self) -> "Deployment":
        """The profile's stores, opened on first use."""
        return self.deployment_of(None)

    def deployment_of(self, profile_name: str | None) -> "Deployment":
        """Another profile's stores; this command's own for None."""
        from aeterna_cli import profiles
        from aeterna_cli.deployment import Deployment

        loaded = self.loaded if profile_name is None else profiles.load(profile_name)
        opened = Deployment(loaded.name, loaded.values)
        self._deployments.append(opened)
        return opened

    def close(self) -> None:
        """Give back what this command opened."""
        for opened in self._deployments:
            opened.close()

    def run_environment(self) -> "RunEnvironment":
        """What an operation of this command runs in."""
        from aeterna_cli.operations.runner import RunEnvironment

        return RunEnvironment(
            store=self.deployment.objects,
            state_directory=self.state_directory,
            profile=self.profile_name,
            environment=self.profile.environment,
            actor=actor(),
            answers=self.answers,
            stop=self.stop,
            clock=self.clock,
            emit=self._say,
            reason=self.reason,
            change=self.change,
            break_glass=self.flags.break_glass or "",
            dry_run=self.flags.dry_run,
        )

    @property
    def answers(self) -> "Answers":
        """What the command line said already to a question, and whom to ask."""
        from aeterna_cli.operations.confirm import Answers

        return Answers(self.flags.yes, self.flags.confirm, self.interactive, self.out.ask)

    def _say(self, event: str, fields: Mapping[str, Any]) -> None:
        """Steps as lines for people; every write names its profile."""
        if event == "step_started":
            self.out.note(f"[{self.profile_name}] {fields['step']}", **fields)
        elif event == "operation_abandoned":
            self.out.note(f"operation {fields['operation']} is abandoned: {fields['reason']}")
        elif event in _FAULTS:
            self.out.warn(f"{_FAULTS[event]}: {fields['message']}")

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer: both ends of the conversation are a terminal."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def reason(self) -> str:
        return self.flags.reason or os.environ.get("AETERNA_REASON", "")

    @property
    def change(self) -> str:
        return self.flags.change or os.environ.get("AETERNA_CHANGE", "")

    @cached_property
    def origins(self) -> Mapping[str, Any]:
        return self.loaded.origins
