"""Nothing hidden, nothing forbidden, nothing unclassified, before the map is used."""

import re
import tomllib
from dataclasses import replace

import pytest

from aeterna_cli.datamap import rules
from aeterna_cli.datamap.collections import classify_all
from aeterna_cli.datamap.privileges import (
    findings,
    require_classified,
    require_readable,
    require_writable,
)
from aeterna_cli.errors import AuthenticationError, RefusedError
from tests.unit.datamap.given import mapped, table
from tests.unit.datamap.given_tenants import NEIGHBOURS
from tests.unit.datamap.test_collections import described

OPEN = table("open", "id tenant_id")
HIDDEN = table("hidden", "id tenant_id", rls_enabled=True, rls_forced=True, rows_hidden=True)
CLOSED = table("closed", "id tenant_id", privileges=frozenset({"INSERT"}))
READ_ONLY = table('read"only', "id tenant_id", privileges=frozenset({"SELECT"}))
OUTSIDE = table("outside", "id tenant_id", schema="other", schema_usage=False)
ISLAND = table("island", "id", rows_hidden=True, privileges=frozenset())


def test_a_role_that_sees_everything_passes() -> None:
    map_ = mapped(OPEN)
    require_writable(map_)
    require_classified(map_)
    assert not findings(map_)


def test_hidden_rows_are_refused_with_what_mends_it() -> None:
    with pytest.raises(AuthenticationError) as refused:
        require_readable(mapped(OPEN, HIDDEN, role='odd"role'))
    assert (refused.value.code, int(refused.value.exit_code)) == ("rows_hidden", 6)
    assert refused.value.next_steps == ('ALTER ROLE "odd""role" BYPASSRLS',)
    assert refused.value.details == {"tables": ["hidden"]}
    assert "owner" in refused.value.hint


def test_missing_grants_are_refused_with_exactly_these_grants() -> None:
    with pytest.raises(AuthenticationError) as refused:
        require_readable(mapped(OPEN, CLOSED, OUTSIDE))
    assert refused.value.code == "missing_privilege"
    assert refused.value.next_steps == (
        'GRANT USAGE ON SCHEMA "other" TO "someone"',
        'GRANT SELECT ON TABLE "public"."closed" TO "someone"',
    )
    require_readable(mapped(READ_ONLY))
    with pytest.raises(AuthenticationError) as refused:
        require_writable(mapped(READ_ONLY))
    assert refused.value.next_steps == (
        'GRANT INSERT, UPDATE, DELETE ON TABLE "public"."read""only" TO "someone"',
    )


def test_only_the_tables_that_are_used_count() -> None:
    map_ = mapped(OPEN, HIDDEN, ISLAND)
    require_writable(map_, [map_.tables["open"]])
    require_readable(mapped(OPEN, ISLAND))  # nobody's rows are looked for there


def test_unclassified_tables_stop_with_a_way_out() -> None:
    with pytest.raises(RefusedError) as refused:
        require_classified(mapped(OPEN, ISLAND))
    assert (refused.value.code, int(refused.value.exit_code)) == ("tables_unclassified", 7)
    assert refused.value.details == {"tables": ["island"]}
    assert "[[table]]" in refused.value.hint


def test_unclassified_collections_stop_it_too_and_the_rule_to_add_is_a_rule() -> None:
    names = ('odd "name" {x}', "memories-shared", "aeterna_removed")
    found = classify_all([described(name) for name in names], rules.load(), NEIGHBOURS)
    map_ = replace(mapped(OPEN), collections={"": found})
    with pytest.raises(RefusedError) as refused:
        require_classified(map_)
    assert (refused.value.code, int(refused.value.exit_code)) == ("collections_unclassified", 7)
    assert refused.value.details == {"collections": ['odd "name" {x}']}
    toml = re.search(r"pattern = (\".*?[^\\]\")", refused.value.hint)
    assert toml is not None
    entry = {"name": "mine", "kind": "shared", **tomllib.loads(f"pattern = {toml[1]}")}
    mended = classify_all([described(names[0])], {"collection": [entry]}, NEIGHBOURS)
    require_classified(replace(mapped(OPEN), collections={"": mended}))


def test_findings_call_reading_an_error_and_writing_a_remark() -> None:
    found = {(one.code, one.severity) for one in findings(mapped(HIDDEN, CLOSED, READ_ONLY))}
    assert found == {("rows_hidden", "error"), ("unreadable", "error"), ("unwritable", "info")}
