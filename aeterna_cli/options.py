"""The flags every command shares, and the one way a function becomes a command.

``reading``, ``changing`` and ``destroying`` register a function whose first parameter is the
``Context``; the shared flags are added to its signature, so they stand behind the sub-command where
people type them (Typer keeps root flags in front of it).
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from aeterna_cli.context import Context, Flags
from aeterna_cli.doors import GROUPS
from aeterna_cli.errors import MEANINGS, AeternaError, ExitCode

EXIT_CODES = "Exit codes: " + "; ".join(f"{int(code)} {text}" for code, text in MEANINGS.items())

_COMMON: dict[str, Any] = {
    "profile": (
        Annotated[
            str | None,
            typer.Option("--profile", "-p", help="Which deployment. [env: AETERNA_PROFILE]"),
        ],
        None,
    ),
    "output": (
        Annotated[
            str | None,
            typer.Option(
                "--output",
                "-o",
                help="table, json, ndjson or csv; a table on a terminal, JSON in a pipe."
                " [env: AETERNA_OUTPUT]",
            ),
        ],
        None,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show tracebacks.")], False),
}

_CHANGE: dict[str, Any] = {
    "dry_run": (
        Annotated[bool, typer.Option("--dry-run", help="Show the plan, do nothing.")],
        False,
    ),
    "yes": (
        Annotated[bool, typer.Option("--yes", "-y", help="Answer yes; never covers --confirm.")],
        False,
    ),
    "reason": (
        Annotated[
            str | None, typer.Option("--reason", help="Why, for the journal. [env: AETERNA_REASON]")
        ],
        None,
    ),
    "change": (
        Annotated[
            str | None,
            typer.Option("--change", help="Change or ticket number. [env: AETERNA_CHANGE]"),
        ],
        None,
    ),
}

_DESTROY: dict[str, Any] = {
    "confirm": (
        Annotated[
            str | None,
            typer.Option("--confirm", metavar="NAME", help="The name that is asked for, typed."),
        ],
        None,
    ),
    "break_glass": (
        Annotated[
            str | None,
            typer.Option(
                "--break-glass",
                metavar="REASON",
                help="Go on with the local journal when the repository is unreachable.",
            ),
        ],
        None,
    ),
}

Function = Callable[..., None]


def reading(
    app: typer.Typer, name: str, *, needs_profile: bool = True
) -> Callable[[Function], Function]:
    """Register a command that changes nothing."""
    return _register(app, name, _COMMON, needs_profile)


def changing(
    app: typer.Typer, name: str, *, needs_profile: bool = True
) -> Callable[[Function], Function]:
    """Register a command whose effect can be taken back: y/N or ``--yes``."""
    return _register(app, name, {**_COMMON, **_CHANGE}, needs_profile)


def destroying(app: typer.Typer, name: str) -> Callable[[Function], Function]:
    """Register a command that may destroy data: wants a name typed or ``--confirm``."""
    return _register(app, name, {**_COMMON, **_CHANGE, **_DESTROY}, True)


def _register(
    app: typer.Typer, name: str, shared: dict[str, Any], needs_profile: bool
) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{name}: Typer never awaits a coroutine and exits 0")

        @functools.wraps(function)
        def door(**values: Any) -> None:
            flags = Flags(**{key: values.pop(key) for key in shared})
            opened = Context.open(flags, needs_profile=needs_profile)
            with opened as context, _stops_told(context):
                function(context, **values)

        own = inspect.signature(function, eval_str=True)
        parameters = list(own.parameters.values())[1:]  # the first is the Context
        for key, (annotation, default) in shared.items():
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(key, kind, default=default, annotation=annotation))
        keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        door.__signature__ = own.replace(parameters=keyword_only)  # type: ignore[attr-defined]  # how inspect documents it
        door.__annotations__ = {p.name: p.annotation for p in keyword_only}
        app.command(name, epilog=EXIT_CODES)(door)
        return function

    return register


@contextmanager
def _stops_told(context: Context) -> Iterator[None]:
    """Whatever a signal broke ends as the stop that it was."""
    try:
        yield
    except AeternaError as error:
        told = context.stop.told(error)
        if told is error:
            raise
        raise told from error


def group(name: str, help_text: str = "") -> typer.Typer:
    """A command group, with its own help or the root's line for it.

    The empty callback keeps the name where a group has one command.
    """
    app = typer.Typer(
        name=name,
        help=help_text or GROUPS[name],
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)
    return app


__all__ = ["EXIT_CODES", "ExitCode", "changing", "destroying", "group", "reading"]
