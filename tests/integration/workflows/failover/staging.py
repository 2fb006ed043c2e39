"""Stages carried out as the runner does it, in this process or in one that is to be killed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.settings import FailoverSettings, QdrantSettings
from aeterna_cli.signals import Stop
from aeterna_cli.stores.qdrant_cluster import QdrantCluster
from aeterna_cli.workflows.failover.component import Request, Stage
from aeterna_cli.workflows.failover.qdrant import QdrantComponent


class Staging:
    """What stages leave behind: results and checkpoints by stage, in a file if one is given."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.results: dict[str, Any] = {}
        self.checkpoints: dict[str, Any] = {}
        self.events: list[str] = []
        if file is not None and file.exists():
            self.results, self.checkpoints = json.loads(file.read_text())

    def _save(self) -> None:
        if self._file is not None:
            self._file.write_text(json.dumps([self.results, self.checkpoints]))

    def _checkpoint(self, step: str, data: Any) -> None:
        self.checkpoints[step] = data
        self._save()

    def run(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """All stages without a result, in order; the undo of the one that fails."""
        for stage in stages:
            if stage.name not in self.results:
                self._one(stage)
        return self.results

    def _one(self, stage: Stage) -> None:
        run = StepRun(
            "operation",
            stage.name,
            self.results,
            stop=Stop(),
            leases=(),
            emit=lambda event, _fields: self.events.append(event),
            checkpoint=self._checkpoint,
            last_checkpoint=self.checkpoints.get(stage.name),
        )
        kill_point(f"step:{stage.name}:before")
        if stage.check is not None:
            stage.check(run)
        try:
            result = stage.do(run)
            if stage.verify is not None:
                stage.verify(run)
        except BaseException:
            if stage.undo is not None:
                stage.undo(run)
            raise
        kill_point(f"step:{stage.name}:after")
        self.results[stage.name] = result
        self._save()


OPENED: list[QdrantComponent] = []


def component(urls: Sequence[str], **options: Any) -> QdrantComponent:
    """Whoever makes some closes what is in ``OPENED``."""
    settings = QdrantSettings(url=urls[0], peers=tuple(urls), timeout=5)
    OPENED.append(
        QdrantComponent(QdrantCluster(settings, seconds=1), FailoverSettings(), **options)
    )
    return OPENED[-1]


def main(words: Sequence[str]) -> None:
    """``FILE REQUEST OPTIONS URL...``: the stages of this request, going on from the file."""
    file, request, options, *urls = words
    made = component(urls, **json.loads(options))
    wanted = Request(**json.loads(request))
    found = made.preflight(wanted)
    assert not found.refusals, found.refusals
    Staging(Path(file)).run(made.stages(wanted, found))


if __name__ == "__main__":
    main(sys.argv[1:])
