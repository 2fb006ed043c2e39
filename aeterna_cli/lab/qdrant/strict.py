"""Strict mode: the limits that the tool must respect when a deployment sets them."""

from typing import Any

from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.filters import filter_keys
from aeterna_cli.lab.qdrant.refusals import bad_request


def _limits(config: dict[str, Any]) -> dict[str, Any]:
    strict: dict[str, Any] = config.get("strict_mode_config") or {}
    return strict if strict.get("enabled") else {}


def check_batch(config: dict[str, Any], points: int) -> None:
    limit = _limits(config).get("upsert_max_batchsize")
    if limit is not None and points > limit:
        raise bad_request(f"Upsert batch size limit exceeded: {points} > {limit}")


def check_limit(config: dict[str, Any], wanted: int) -> None:
    limit = _limits(config).get("max_query_limit")
    if limit is not None and wanted > limit:
        raise bad_request(f"Limit exceeded {wanted} > {limit} for 'limit'")


def check_filter(collection: Collection, condition: Any, permission: str) -> None:
    """``permission`` is ``unindexed_filtering_update`` or ``unindexed_filtering_retrieve``."""
    if _limits(collection.config).get(permission) is not False:
        return
    for key in filter_keys(condition):
        if key not in collection.payload_schema:
            raise bad_request(f'Index required but not found for "{key}" in strict mode')
