"""The lab's tenants are the same for the same seed, and others for another."""

from itertools import islice

from aeterna_cli.lab.seed.tenants import DIMENSIONS, memories, tenants, vectors


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
    assert all(tenant.memories >= 1 for tenant in tenants(0.0001))
    large = {tenant.slug: tenant.memories for tenant in tenants(10)}
    assert large["large-corp"] == 40_000


def test_two_tenants_differ_only_in_a_separator() -> None:
    """acme-corp and acme_corp are told apart by whoever does not normalise names."""
    slugs = {tenant.slug for tenant in tenants(1)}
    assert {"acme-corp", "acme_corp"} <= slugs
