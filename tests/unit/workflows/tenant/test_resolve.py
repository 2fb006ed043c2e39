"""Which tenant a text means; it may be anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.tenant.resolve import choose

HOSTILE = 'o\'neill "100%" *?[a]_\\ {t} 名前'
ACME = TenantIdentity("11111111-1111-4111-8111-111111111111", "acme", "Acme", "active", None)
OTHER = TenantIdentity("22222222-2222-4222-8222-222222222222", "acme-2", "Acme", "active", None)
ODD = TenantIdentity("33333333-3333-4333-8333-333333333333", HOSTILE, "Odd", "active", None)
THIEF = TenantIdentity("44444444-4444-4444-8444-444444444444", ACME.id, "Thief", "active", None)
ALL = [ACME, OTHER, ODD]


@pytest.mark.parametrize(
    ("text", "meant"),
    [(ACME.id, ACME), ("acme", ACME), ("acme-2", OTHER), (HOSTILE, ODD), ("Odd", ODD)],
)
def test_id_slug_or_name(text: str, meant: TenantIdentity) -> None:
    assert choose(text, ALL) == meant


def test_a_name_of_two_is_refused_with_their_ids() -> None:
    with pytest.raises(RefusedError) as refused:
        choose("Acme", ALL)
    assert refused.value.code == "tenant_ambiguous"
    assert refused.value.details == {"ids": [ACME.id, OTHER.id]}


@pytest.mark.parametrize("text", [ACME.id, "acme", "Thief", THIEF.id])
def test_a_slug_that_is_another_ones_id_is_refused_for_both(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        choose(text, [*ALL, THIEF])
    assert refused.value.code == "tenant_ambiguous"
    assert set(refused.value.details["ids"]) == {ACME.id, THIEF.id}


def test_an_unknown_one_is_offered_the_closest() -> None:
    with pytest.raises(RefusedError) as refused:
        choose("ACMEE", ALL)
    assert (refused.value.code, int(refused.value.exit_code)) == ("tenant_unknown", 7)
    assert ACME.id in refused.value.details["closest"]
    assert "acme" in refused.value.hint


@given(st.text(max_size=100) | st.sampled_from([ODD.slug, ACME.name]))
def test_any_text_ends_in_a_tenant_or_a_refusal(text: str) -> None:
    known = {one: tenant for tenant in (ODD, ACME) for one in (tenant.name, *tenant.values)}
    if text in known:
        assert choose(text, [ACME, ODD]) == known[text]
    else:
        with pytest.raises(RefusedError, match="no tenant"):
            choose(text, [ACME, ODD])
