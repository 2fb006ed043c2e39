"""Server control by hook programs, or none at all. The lab's lies in ``aeterna_cli.lab``."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from aeterna_cli.errors import FailedError, RefusedError, TransientError
from aeterna_cli.settings import ServerControlSettings, ServerHooks
from aeterna_cli.stores import helpers
from aeterna_cli.stores.base.server_control import StoreName


def swap_directories(current: Path, prepared: Path, now: datetime) -> Path | None:
    """``prepared`` becomes ``current``; the old one is renamed beside it and returned.

    Two renames, each atomic. After a crash between them ``current`` is missing and ``prepared`` is
    still there: the same call finishes. After both, ``prepared`` is gone and nothing is done.
    """
    if not prepared.exists():
        if current.exists():
            return None
        raise RefusedError(
            "prepared_data_missing",
            f"neither {prepared} nor {current} exists: nothing to put in place",
        )
    replaced: Path | None = None
    try:
        if current.exists():
            replaced = current.with_name(f"{current.name}.replaced-{now:%Y%m%dT%H%M%S%fZ}")
            current.rename(replaced)
        prepared.rename(current)
    except OSError as error:
        raise FailedError(
            "data_not_replaced",
            f"cannot put {prepared} in place of {current}: {error.strerror}",
            hint="both must lie on one file system that this user may write",
        ) from error
    return replaced


class NoServerControl:
    """No way to stop or start anything: a restore leaves a directory and next steps."""

    description = "none: the data directory is left beside, with next steps"

    def can_hand_over(self, store: StoreName) -> bool:
        return False

    def stop(self, store: StoreName) -> None:
        raise self._refusal(store)

    def start(self, store: StoreName) -> None:
        raise self._refusal(store)

    def data_directory(self, store: StoreName) -> Path:
        raise self._refusal(store)

    def replace_data(self, store: StoreName, prepared: Path) -> Path | None:
        raise self._refusal(store)

    @staticmethod
    def _refusal(store: StoreName) -> RefusedError:
        return RefusedError(
            "no_server_control",
            f"the profile does not say how {store} is stopped and started",
            next_steps=["set server_control.kind in the profile", "or use --data-dir DIR"],
        )


class HookServerControl:
    """Stop and start by the programs that the profile names; argument lists, no shell."""

    def __init__(self, settings: ServerControlSettings) -> None:
        self._settings = settings
        self.description = "hook programs of the profile"

    def _hooks(self, store: StoreName) -> ServerHooks:
        hooks: ServerHooks = getattr(self._settings, store)
        return hooks

    def can_hand_over(self, store: StoreName) -> bool:
        hooks = self._hooks(store)
        return bool(hooks.stop and hooks.start and hooks.data_dir)

    def stop(self, store: StoreName) -> None:
        self._run(store, "stop", self._hooks(store).stop)

    def start(self, store: StoreName) -> None:
        self._run(store, "start", self._hooks(store).start)

    def data_directory(self, store: StoreName) -> Path:
        directory = self._hooks(store).data_dir
        if directory is None:
            raise NoServerControl._refusal(store)
        return directory

    def replace_data(self, store: StoreName, prepared: Path) -> Path | None:
        return swap_directories(self.data_directory(store), prepared, datetime.now(UTC))

    def _run(self, store: StoreName, verb: str, command: tuple[str, ...]) -> None:
        if not command:
            raise NoServerControl._refusal(store)
        try:
            done = helpers.run(command, timeout=self._settings.timeout)
        except subprocess.TimeoutExpired as error:
            raise TransientError(
                "hook_timeout", f"the {verb} hook of {store} did not end in {error.timeout:.0f} s"
            ) from None
        except OSError as error:
            raise FailedError(
                "hook_missing", f"the {verb} hook of {store} cannot be run: {error.strerror}"
            ) from error
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise FailedError(
                "hook_failed",
                f"the {verb} hook of {store} exited with {done.returncode}",
                hint=" ".join(last),
            )
