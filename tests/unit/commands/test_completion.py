"""Generated files are equal to what the command tree says, and the bash script completes."""

import shlex
import subprocess
from pathlib import Path

import pytest

from aeterna_cli.commands import completion

TOP = Path(__file__).parents[3]


@pytest.mark.parametrize("name", list(completion.FILES))
def test_the_committed_file_is_what_the_tree_generates(name: str) -> None:
    assert (TOP / name).read_text(encoding="utf-8") == completion.FILES[name](), "run: make docs"


def complete(
    line: str, cache: Path, script: Path = TOP / "completions" / "aeterna-cli.bash"
) -> list[str]:
    """What bash offers for the last word of ``line``."""
    words = line.split(" ")
    typed = "\n".join(
        [
            f"source {shlex.quote(str(script))}",
            f"COMP_WORDS=({' '.join(shlex.quote(word) for word in words)})",
            f"COMP_CWORD={len(words) - 1}",
            "_aeterna_cli",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
    )
    environment = {"XDG_CACHE_HOME": str(cache), "HOME": str(cache), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_bash_completes_groups_commands_options_and_values(tmp_path: Path) -> None:
    assert complete("aeterna-cli con", tmp_path) == ["config"]
    assert set(complete("aeterna-cli config s", tmp_path)) == {"show"}
    assert complete("aeterna-cli config show --ori", tmp_path) == ["--origin"]
    assert complete("aeterna-cli config show -o nd", tmp_path) == ["ndjson"]


def test_bash_completes_names_from_the_cache(tmp_path: Path) -> None:
    folder = tmp_path / "aeterna-cli" / "lab"
    folder.mkdir(parents=True)
    (folder / "backups").write_text("20261123T1-abc\n20261124T1-def\n")
    assert complete("aeterna-cli restore run --backup 20261124", tmp_path) == ["20261124T1-def"]
    assert complete("aeterna-cli restore run --backup lat", tmp_path) == ["latest"]


def test_bash_completes_tenants_from_the_cache(tmp_path: Path) -> None:
    script, folder = tmp_path / "script", tmp_path / "aeterna-cli" / "lab"
    script.write_text(completion.bash())
    folder.mkdir(parents=True)
    (folder / "tenants").write_text("acme-corp\nacme_corp\nglobex\n")
    for option in ("--tenant-id", "--tenant"):
        line = f"aeterna-cli tenant show {option} acme"
        assert complete(line, tmp_path, script) == ["acme-corp", "acme_corp"]


def test_every_leaf_is_in_every_script() -> None:
    words = {" ".join(leaf.words) for leaf in completion.walk() if not leaf.children}
    bash, reference = completion.bash(), completion.reference()
    for leaf in words:
        assert f'" {leaf}")' in bash
        assert f"## aeterna-cli {leaf}" in reference
