"""The thirty-second rule: the words of a command name its door, workflow, runbook and test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli import main

ROOT = Path(__file__).parents[2]
#: machinery of the command line itself, no workflow behind it
WITHOUT_WORKFLOW = {("completion",)}


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield words
    else:
        for name, child in children.items():
            yield from leaves(child, (*words, name))


COMMANDS = [words for words in leaves(main.build()) if words[:1] not in WITHOUT_WORKFLOW]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_words_of_a_command_name_its_files(words: tuple[str, ...]) -> None:
    group, name = words[0], "_".join(words[1:] or words[:1])
    module = group.replace("-", "_")
    door = (ROOT / "commands" / f"{module}.py").read_text(encoding="utf-8")
    assert f"def {name}_(" in door
    assert (ROOT / "aeterna_cli" / "workflows" / module / f"{name}.py").is_file()
    assert (ROOT / "runbooks" / f"{group}.md").is_file()
    tests = list((ROOT / "tests").glob(f"*/workflows/{module}/test_{name}.py"))
    assert tests, f"no tests/*/workflows/{module}/test_{name}.py"
