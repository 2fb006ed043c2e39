"""The map of a deployment as its stores are now."""

from aeterna_cli.datamap import rules, table_rules
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.tables import map_tables
from aeterna_cli.deployment import Deployment


def build(place: Deployment) -> DataMap:
    """Reads the catalogue, never a table's rows, and the rules.

    ``UsageError('rules_invalid')`` before anything is contacted; the store's errors otherwise. The
    map may have unclassified tables and findings: ask ``datamap.privileges`` before it is used.
    """
    from aeterna_cli.stores.postgres_catalogue import read

    found = rules.load(place.profile.datamap.rules)
    parsed = table_rules.parse(found["table"])
    return map_tables(read(place.profile.postgres), parsed)
