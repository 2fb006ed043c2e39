"""Every door of the command line: help with an example that parses, flags, runbook, exit 2."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import MEANINGS
from aeterna_cli.main import build
from tests.command_line import CommandLine

RUNBOOKS = Path(__file__).parents[3] / "runbooks"
COMMON = {"--profile", "--output", "--quiet", "--debug"}
CHANGE = {"--dry-run", "--yes", "--reason", "--change"}
DESTROY = {"--confirm", "--break-glass"}
#: what each command may do; a new command must be put into one of these
READING = {
    "backup list", "backup show", "backup verify", "backup wal status", "config show",
    "config test", "datamap check", "datamap show", "doctor", "dr-drill history", "dr-drill list",
    "dr-drill report", "failover status", "lab env",
    "lab status", "operation list", "operation show", "restore plan", "restore verify",
    "shard list",
    "tenant classify", "tenant list", "tenant migration status", "tenant show",
}  # fmt: skip
CHANGING = {
    "backup create", "backup prune", "config pin", "failover switchover", "operation abort",
    "repository init",
    "lab reset", "shard add", "shard drain", "shard remove", "tenant migrate",
    "tenant migration cancel", "tenant migration cutover", "tenant migration rollback",
    "tenant migration verify",
}  # fmt: skip
DESTROYING = {
    "dr-drill run", "failover run", "operation resume", "restore run",
    "tenant migration complete",
}  # fmt: skip
#: makes something new or serves, asks nothing and overwrites nothing
MAKING = {
    "backup wal receive",
    "config init",
    "lab up",
    "lab down",
    "lab seed",
    "lab demo",
    "lab workload",
}
#: writes a script to stdout; its text goes to a shell, not to a person
TOOLS = {"completion"}


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(words), command
        return
    for name, child in children.items():
        yield from leaves(child, (*words, name))


DOORS = {words: door for words, door in leaves(build()) if words not in TOOLS}


def options(door: Any) -> set[str]:
    return {name for parameter in door.params for name in parameter.opts}


def parse(words: list[str]) -> None:
    """Resolve a command line as the program would, without running it; raises where it is wrong."""
    assert words[0] == "aeterna-cli", words
    command, rest = build(), words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[0], rest)


def examples(door: Any) -> list[str]:
    return re.findall(r"^Example: (.+)$", door.help or "", re.MULTILINE)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def test_every_command_is_sorted_by_what_it_may_do() -> None:
    assert sorted(DOORS) == sorted(READING | CHANGING | DESTROYING | MAKING)


@pytest.mark.parametrize("words", DOORS)
def test_help_has_a_sentence_an_example_and_the_exit_codes(words: str, cli: CommandLine) -> None:
    ran = cli.ok(*words.split(), "--help")
    shown = " ".join(ran.out.split())
    assert re.search(r"[A-Z].+\.", DOORS[words].help)
    assert examples(DOORS[words]), f"{words} has no Example: line"
    for code, meaning in MEANINGS.items():
        assert f"{int(code)} {meaning}" in shown


@pytest.mark.parametrize("words", DOORS)
def test_the_example_is_of_this_command_and_parses(words: str) -> None:
    for example in examples(DOORS[words]):
        assert example.startswith(f"aeterna-cli {words}")
        parse(shlex.split(example.partition(" >")[0]))  # the rest is the shell's


@pytest.mark.parametrize("words", DOORS)
def test_the_flags_say_what_a_command_may_do(words: str) -> None:
    found = options(DOORS[words])
    assert found >= COMMON
    if words in READING:
        assert not found & (CHANGE | DESTROY)
    if words in CHANGING | DESTROYING:
        assert found >= CHANGE
    assert (found >= DESTROY) == (words in DESTROYING)


@pytest.mark.parametrize("words", DOORS)
def test_a_runbook_names_it(words: str) -> None:
    text = (RUNBOOKS / f"{words.split(maxsplit=1)[0]}.md").read_text(encoding="utf-8")
    last = words.rsplit(maxsplit=1)[-1]
    assert f"aeterna-cli {words}" in text or re.search(rf"`{words}\b|`{last}\b", text)


@pytest.mark.parametrize("words", DOORS)
@pytest.mark.parametrize(
    "wrong", [("--no-such-flag",), ("a", "b", "c", "d")], ids=["flag", "arguments"]
)
def test_wrong_usage_is_exit_2_with_the_next_step(
    words: str, wrong: tuple[str, ...], cli: CommandLine
) -> None:
    ran = cli(*words.split(), *wrong, "-o", "json")
    assert (ran.code, ran.error["code"]) == (2, "usage"), ran.err
    assert ran.error["next_steps"] == [f"aeterna-cli {words} --help"]
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_an_unknown_command_and_an_unknown_output_are_exit_2(cli: CommandLine) -> None:
    assert cli("nonsense").code == 2
    assert cli("backup", "nonsense").code == 2
    ran = cli("config", "show", "-o", "yaml")
    assert ran.code == 2
    assert "Traceback" not in ran.err


def blocks() -> Iterator[tuple[str, str]]:
    for path in sorted(RUNBOOKS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r"^\$ (aeterna-cli .+)$", text, re.MULTILINE):
            yield path.name, line


@pytest.mark.parametrize(("runbook", "line"), list(blocks()))
def test_every_command_of_a_runbook_parses(runbook: str, line: str) -> None:
    parse(shlex.split(line))
