"""The root of the command tree. A group is imported and built when its words are used.

``aeterna-cli --help`` needs a line for each group and nothing else; building every command of every
group for it took a fifth of its time.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import typer
from typer.core import TyperGroup

#: the command groups, each a module of ``commands/`` with an ``app``
GROUPS = {
    "config": "Profiles: which deployments, and where each value comes from.",
    "lab": "Real servers on this machine, to learn, test and drill with.",
    "repository": "The backup repository: S3 or a directory.",
    "backup": "Recovery points over all stores, and the WAL between them.",
    "restore": "Back to a recovery point, or to a moment after it.",
    "datamap": "Where the data of tenants and persons lives.",
    "tenant": "Whom the deployment serves, what each has, where it lies.",
    "shard": "Where tenants' points lie: servers, collections, capacity.",
    "failover": "Who serves now, and somebody else from now on.",
    "dr-drill": "Prove that recovery works: broken on purpose, measured, signed.",
    "operation": "The journal of every change: look, go on, give up.",
}
#: commands without a group, each a module of ``commands/`` with a ``register``
COMMANDS = {"doctor": "Check everything that backup and restore need."}


class _Loaded(Mapping[str, Any]):
    """Every group and command by name; looking one up imports its module and builds it."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            if name not in self:
                raise KeyError(name)
            self._built[name] = _build(name)
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in GROUPS or name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter({**GROUPS, **COMMANDS})

    def __len__(self) -> int:
        return len({**GROUPS, **COMMANDS})


def _build(name: str) -> Any:
    module = importlib.import_module(f"aeterna_cli.commands.{name.replace('-', '_')}")
    if name in GROUPS:
        app: typer.Typer = module.app
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        module.register(app)
    command = typer.main.get_command(app)
    command.name = name
    return command


class Doors(TyperGroup):
    """The root group: knows the names and a line for each before anything is loaded."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(dict[str, Any], _Loaded())

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The lines of the tables above, whole."""
        with formatter.section("Commands"):
            formatter.write_dl(list({**GROUPS, **COMMANDS}.items()))
