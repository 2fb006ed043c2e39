"""``dr-drill report``: the signed evidence of one drill; ``--verify`` checks it anywhere."""

import os
from dataclasses import dataclass
from pathlib import Path

from aeterna_cli.context import Context
from aeterna_cli.errors import FailedError, RefusedError, UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.repository.signing import public_key_of
from aeterna_cli.workflows.dr_drill import evidence, past, state, view
from aeterna_cli.workflows.dr_drill.verdict import SCHEMA


@dataclass(frozen=True)
class Written:
    """Files that were written."""

    drill: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """A folder of evidence that is what was signed."""

    folder: str
    drill: str
    scenario: str
    verdict: str
    files: int


def run(ctx: Context, drill: str, form: str | None, to: str | None) -> Result | None:
    """The result document; one of its reports as it is where only ``form`` is given (None then: it
    is printed); files in a folder where ``to`` is given (everything without a ``form``).

    Every file is checked against the signed manifest first. ``RefusedError``: ``drill_unknown``,
    ``no_drills``, ``file_exists``.
    """
    if form is not None and form not in evidence.REPORTS:
        raise UsageError(
            "format_unknown", f"unknown report format {form!r}",
            hint=f"one of {', '.join(evidence.REPORTS)}",
        )  # fmt: skip
    state.offer(ctx)
    repository = ctx.deployment.repository
    name = past.newest(ctx) if drill == "latest" else drill
    if not evidence.is_id(name):
        raise RefusedError("drill_unknown", f"{name!r} is not the id of a drill")
    files = evidence.fetch(repository.store, name, repository.info.public_key)
    if to is not None:
        chosen = files if form is None else {evidence.REPORTS[form]: files[evidence.REPORTS[form]]}
        return _written(name, chosen, Path(to).expanduser())
    if form is not None:
        ctx.out.text(files[evidence.REPORTS[form]].decode("utf-8"))
        return None
    data = evidence.result_of(files)
    return Result(SCHEMA, data, lambda: view.one(data, None))


def _written(drill: str, files: dict[str, bytes], folder: Path) -> Result:
    """New files only: somebody else's are never overwritten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            number = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with os.fdopen(number, "wb") as file:
                file.write(data)
    except FileExistsError as error:
        raise RefusedError(
            "file_exists", f"{error.filename} exists already", next_steps=["choose a new folder"]
        ) from error
    except OSError as error:
        raise FailedError(
            "report_not_written", f"cannot write to {folder}: {error.strerror}"
        ) from error
    done = Written(drill, tuple(str(folder / name) for name in files))
    return Result("aeterna.dr_drill.report.written/1", done, lambda: "\n".join(done.files))


def verify(folder: str, public_key: str | None) -> Result:
    """Whether a folder holds exactly what was signed; no profile and no server is needed.

    ``FindingsError('evidence_damaged')`` (8) where it does not.
    """
    if public_key is None:
        raise UsageError(
            "public_key_missing", "--verify wants --public-key FILE",
            hint="the key in the folder itself proves nothing: take it from where you trust it",
        )  # fmt: skip
    path = Path(folder).expanduser()
    try:
        key = public_key_of(Path(public_key).expanduser().read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("public_key_unreadable", f"cannot read {public_key}") from error
    evidence.refuse_damaged(evidence.verify(path, key), str(path))
    data = evidence.result_of({evidence.RESULT: (path / evidence.RESULT).read_bytes()})
    files = sum(1 for _one in path.iterdir())
    done = Checked(str(path), data["id"], data["scenario"], data["verdict"], files)
    words = (
        f"{done.files} files are what was signed: drill {done.scenario} ({done.drill}),"
        f" {done.verdict}"
    )
    return Result("aeterna.dr_drill.report.verified/1", done, lambda: words)
