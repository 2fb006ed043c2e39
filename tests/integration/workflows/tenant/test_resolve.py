"""Tenants of a real deployment by id, slug and name."""

import pytest

from aeterna_cli.errors import RefusedError
from aeterna_cli.lab.seed.tenants import HOSTILE
from aeterna_cli.workflows.tenant.resolve import every, resolve
from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration


def test_every_tenant_is_found_by_each_of_its_names(practice: Practice) -> None:
    place = practice.open()
    with every(place) as tenants:
        known = list(tenants)
    assert HOSTILE in {one.slug for one in known}
    assert all(one.created_at is not None and one.created_at.tzinfo for one in known)
    for one in known:
        assert resolve(place, one.id) == resolve(place, one.slug) == resolve(place, one.name) == one


@pytest.mark.parametrize("text", ["", "acme-crop", "%", "*", "x\0y", "'; --", "名" * 100, "\ud800"])
def test_unknown_text_is_refused(practice: Practice, text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        resolve(practice.open(), text)
    assert refused.value.code == "tenant_unknown"
    if text == "acme-crop":
        assert "acme-corp" in refused.value.hint
