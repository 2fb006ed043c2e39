"""A workload's folder: what runs in it, a folder of logs for each tenant, and the gates' files."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.lab.workload.gate import Gate
from aeterna_cli.lab.workload.model import Universe
from aeterna_cli.stores.base.placement import PointsPlace

Contract = Literal["dual", "reread", "none", "naive"]
CONTRACTS: tuple[Contract, ...] = ("dual", "reread", "none", "naive")
FILE = "workload.json"
_FORMAT = 1


@dataclass(frozen=True)
class Moved:
    """A tenant of a workload: its id as text, a name for people, and where its points begin."""

    id: str
    place: PointsPlace
    name: str = ""


@dataclass(frozen=True)
class Description:
    """What a judge must know to judge the logs beside it."""

    contract: Contract
    seed: int
    dimensions: int
    tenants: tuple[Moved, ...]

    def universe(self, tenant: Moved) -> Universe:
        return Universe(tenant.id, self.seed, self.dimensions)


def write(folder: Path, description: Description) -> None:
    """Takes a folder that is empty or not there yet.

    ``RefusedError('workload_folder_used')`` where another workload's logs lie in it.
    """
    if (folder / FILE).exists():
        raise RefusedError(
            "workload_folder_used",
            f"{folder} holds the logs of another workload",
            next_steps=["choose another folder", f"aeterna-cli lab workload --judge {folder}"],
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for index in range(len(description.tenants)):
        logs(folder, index).mkdir(mode=0o700)
    document = {"format": _FORMAT, **asdict(description)}
    fresh = folder / f"{FILE}.new"
    fresh.write_text(json.dumps(document, indent=1), encoding="utf-8")
    fresh.replace(folder / FILE)


def read(folder: Path) -> Description:
    """``UsageError('workload_folder_unknown')`` where no workload ever ran."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if found.pop("format") != _FORMAT:
            raise ValueError("another format")
        places = [PointsPlace(**one.pop("place")) for one in found["tenants"]]
        found["tenants"] = tuple(
            Moved(place=place, **one)
            for place, one in zip(places, found.pop("tenants"), strict=True)
        )
        return Description(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "workload_folder_unknown",
            f"{folder} is not the folder of a workload: {error}",
            next_steps=["aeterna-cli lab workload --help"],
        ) from error


def logs(folder: Path, index: int) -> Path:
    """Where the log files of one tenant lie; its id is no file name."""
    return folder / f"tenant-{index}"


def gates(folder: Path, tenants: Sequence[Moved]) -> dict[str, Gate]:
    return {one.id: Gate(folder, index) for index, one in enumerate(tenants)}


def gate_of(folder: Path, tenant: str) -> Gate:
    """``UsageError('workload_tenant_unknown')`` where the workload has no such tenant."""
    found = gates(folder, read(folder).tenants).get(tenant)
    if found is None:
        raise UsageError("workload_tenant_unknown", f"no tenant {tenant!r} in {folder}")
    return found
