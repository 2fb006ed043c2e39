"""Points that were there before the workload: a move must carry them as they are.

``adopted.txt`` has a line ``id digest`` for each; nobody writes them, so none may change.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = "adopted.txt"


def digest(point: dict[str, Any]) -> str:
    """Of the payload and the vectors as the server's JSON has them: bit by bit."""
    import orjson

    content = [point.get("payload"), point.get("vector")]
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def write(folder: Path, pages: Iterable[list[dict[str, Any]]]) -> int:
    """How many points there are."""
    number = 0
    with (folder / FILE).open("w", encoding="ascii") as file:
        for page in pages:
            file.writelines(f"{point['id']} {digest(point)}\n" for point in page)
            number += len(page)
    return number


def read(folder: Path) -> dict[str, str]:
    """Digest by id; empty where nothing was adopted."""
    path = folder / FILE
    if not path.exists():
        return {}
    lines = path.read_text(encoding="ascii").splitlines()
    return dict(line.split(" ") for line in lines)
