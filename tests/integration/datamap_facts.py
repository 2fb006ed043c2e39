"""The platform's 63 tables as our own notes of them say: ``tests/data/aeterna-tables.tsv``."""

import csv
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).parents[1] / "data" / "aeterna-tables.tsv"


def facts() -> Mapping[str, Mapping[str, str]]:
    with FILE.open(encoding="utf-8", newline="") as file:
        return {row["table"]: row for row in csv.DictReader(file, delimiter="\t")}


def scope(row: Mapping[str, str]) -> str:
    """The scope that the map must give a table."""
    told = row["scope_class"]
    if told.startswith(("FK", "governance: FK")):
        return "chain"
    if told.startswith(("governance", "orphan")):
        return "soft"
    first = told.split()[0].rstrip(":")
    return {"global": "person"}.get(first, first)


def names(cell: str) -> set[str]:
    """The column names of a cell that lists ``name:type``."""
    return set() if cell == "-" else {one.partition(":")[0] for one in cell.split(",")}
