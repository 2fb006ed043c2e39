"""What a workflow hands to the output: data with a schema version, and a view for people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aeterna_cli.output.tables import Table


@dataclass(frozen=True)
class Result:
    """``schema`` is like ``aeterna.backup.list/1``; ``view`` is asked only where a person or CSV
    wants it."""

    schema: str
    data: Any
    view: Callable[[], Table | str]
