"""The lab's tenants are the same for the same seed, and others for another."""

from itertools import islice

from aeterna_cli.lab.seed.tenants import CROWD, DIMENSIONS, HOSTILE, memories, tenants, vectors


def test_the_same_seed_gives_the_same_memories() -> None:
    tenant = tenants(1)[0]
    first = list(islice(memories(7, tenant), 50))
    assert first == list(islice(memories(7, tenant), 50))
    assert first != list(islice(memories(8, tenant), 50))
    assert len({memory.id for memory in first}) == 50


def test_vectors_are_unit_float32_and_deterministic() -> None:
    import numpy as np

    tenant = tenants(1)[2]
    found = vectors(1, tenant, 10)
    assert found.shape == (10, DIMENSIONS)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.array_equal(found, vectors(1, tenant, 10))
    assert not np.array_equal(found, vectors(2, tenant, 10))


def test_scale_keeps_every_tenant_alive() -> None:
    empty = {tenant.slug for tenant in tenants(0.0001) if tenant.memories < 1}
    assert empty == {"vacant-ltd"}
    large = {tenant.slug: tenant.memories for tenant in tenants(10)}
    assert large["large-corp"] == 40_000


def test_two_tenants_differ_only_in_a_separator() -> None:
    """acme-corp and acme_corp are told apart by whoever does not normalise names."""
    slugs = {tenant.slug for tenant in tenants(1)}
    assert {"acme-corp", "acme_corp"} <= slugs


def test_every_kind_of_tenant_that_a_deployment_has_lives_in_the_lab() -> None:
    found = {tenant.slug: tenant for tenant in tenants(1)}
    assert found["legacy-gmbh"].key(1) == "legacy-gmbh"
    assert found["acme-corp"].key(1) == str(found["acme-corp"].id(1))
    assert found["vacant-ltd"].vacant
    assert [slug for slug, tenant in found.items() if tenant.vacant] == ["vacant-ltd"]
    assert found["dormant-inc"].status == "inactive"
    assert found["default"].key(1) != "default"
    assert len(HOSTILE) == 100
    assert all(sign in HOSTILE for sign in "'\"%*?[_\\;🦀")
    assert HOSTILE in found


def test_the_ids_of_the_first_tenants_never_change() -> None:
    """Backups and examples of older labs name them."""
    found = [(tenant.slug, str(tenant.id(1))) for tenant in tenants(1)[:6]]
    assert found == [
        ("acme-corp", "a724f523-7409-5e12-9570-c9bff3f7b909"),
        ("acme_corp", "018e022d-1da6-5f83-99a4-7e76bd1f31df"),
        ("globex", "847baed0-0876-5054-894b-603033ed93f0"),
        ("initech", "764b2384-b172-57a5-bc5c-f84711e56505"),
        ("umlaut-ag", "e00b7c83-821f-519a-927e-102ff1d0b440"),
        ("large-corp", "ac46d9af-f265-5ba2-b9f5-8448932561d8"),
    ]


def test_extra_tenants_are_small_and_come_last() -> None:
    many = tenants(1, extra=1000)
    assert many[: len(tenants(1))] == tenants(1)
    assert len({tenant.slug for tenant in many}) == len(tenants(1)) + 1000
    crowd = many[len(tenants(1)) :]
    assert all(1 <= tenant.memories <= 23 and tenant.collection == CROWD for tenant in crowd)
    assert len({tenant.memories for tenant in crowd}) > 5
