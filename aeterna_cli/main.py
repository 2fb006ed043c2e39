"""The root of the command line, and the only place where an error becomes text and an exit code."""

import itertools
import os
import sys
from collections.abc import Sequence
from typing import cast

import typer

from aeterna_cli import __version__
from aeterna_cli.doors import Doors
from aeterna_cli.errors import AeternaError, ExitCode, FailedError, UsageError

HELP = """Operations toolkit of Aeterna deployments: PostgreSQL, Qdrant, Redis, S3 and keys.

Start without a deployment: aeterna-cli lab demo
"""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"aeterna-cli {__version__}")
        raise typer.Exit


def build() -> Doors:
    """The whole command tree; a group loads when it is used, and none loads a client library."""
    root = typer.Typer(
        name="aeterna-cli",
        cls=Doors,
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @root.callback()
    def _root(
        version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        """Nothing connects here: a leaf's --help runs this too."""

    return cast(Doors, typer.main.get_command(root))


def main(arguments: Sequence[str]) -> int:
    """Run one command line. Every error ends here as text on stderr and an exit code."""
    try:
        # Without standalone mode Typer raises usage errors and returns the code of an Exit.
        code = build()(list(arguments), prog_name="aeterna-cli", standalone_mode=False)
        return code if isinstance(code, int) else ExitCode.DONE
    except typer.TyperException as error:
        return _usage(error, arguments)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`| head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except AeternaError as error:
        return _report(error, arguments)
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _report(_defect(error), arguments)


def _defect(error: Exception) -> AeternaError:
    return FailedError(
        "internal_error",
        f"a defect of aeterna-cli: {type(error).__name__}",
        hint="nothing more is known here; --debug shows where",
        next_steps=["run the same command with --debug and report it"],
    )


def _usage(error: typer.TyperException, arguments: Sequence[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message())
        return ExitCode.USAGE
    command = _command_words(error)
    return _report(
        UsageError("usage", error.format_message(), next_steps=[f"{command} --help"]), arguments
    )


def _command_words(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return str(context.command_path) if context is not None else "aeterna-cli"


def _report(error: AeternaError, arguments: Sequence[str]) -> int:
    from aeterna_cli.output.console import Output

    Output(_asked_format(arguments)).error(error)
    return error.exit_code


def _asked_format(arguments: Sequence[str]) -> str | None:
    """The ``-o`` of a command line that may not even have been parsed."""
    words = [*arguments, ""]
    for word, following in itertools.pairwise(words):
        value = following if word in ("-o", "--output") else None
        if word.startswith("--output="):
            value = word.removeprefix("--output=")
        if value in ("table", "json", "ndjson", "csv"):
            return value
    return "table" if sys.stderr.isatty() and not os.environ.get("AETERNA_OUTPUT") else None


def cli() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))
