"""The server versions that the lab imitates and what each of them could already do.

Source of the first versions: the server's release tags, as measured for this project.
"""

import re
from dataclasses import dataclass

from aeterna_cli.errors import UsageError

DEFAULT = "1.17.1"

FIRST = {
    "strict_mode": (1, 13, 0),
    "conditional_update": (1, 15, 5),
    "point_replication": (1, 16, 0),
    "collection_metadata": (1, 16, 0),
    "list_shard_keys": (1, 16, 2),
    "update_mode": (1, 17, 0),
    "update_queue": (1, 17, 0),
    "cluster_telemetry": (1, 17, 0),
    "recover_from_snapshot_folder_only": (1, 17, 1),
    "snapshot_transfer": (1, 18, 0),
    "slice_filter": (1, 19, 0),
}
LAST = {"point_search": (1, 18, 99)}


@dataclass(frozen=True)
class Version:
    """``has`` answers for the imitated version, never for what the engine underneath can do."""

    text: str
    numbers: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str) -> "Version":
        found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)
        if found is None or int(found[1]) != 1:
            raise UsageError("lab_qdrant_version", f"{text} is no version like {DEFAULT}")
        return cls(text, (int(found[1]), int(found[2]), int(found[3])))

    def has(self, feature: str) -> bool:
        if feature in LAST:
            return self.numbers <= LAST[feature]
        return self.numbers >= FIRST[feature]
