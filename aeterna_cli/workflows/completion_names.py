"""Names for the shells' completion, which must not start Python: a cache file, a name a line."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aeterna_cli.context import Context


def remember(ctx: Context, kind: str, names: Sequence[str]) -> None:
    """The file ``kind`` holds these names in this order. A failure is a warning, never an error."""
    folder = ctx.deployment.cache_directory
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f".{kind}-", dir=folder)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.writelines(f"{one}\n" for one in names)
        Path(name).replace(folder / kind)
    except OSError as error:
        ctx.out.warn(f"names for completion were not kept in {folder}: {error.strerror}")
