"""``tenant migration complete``: nothing is left at the source, and an auditor can check it."""

import copy

import pytest

from aeterna_cli.errors import RemoteError
from aeterna_cli.workflows.tenant.move_certificate import check
from tests.integration.stores.moving import OTHER
from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SLUG, SOURCE, TARGET

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_the_certificate_is_signed_by_the_repositorys_key(begin: Begin) -> None:
    with begin("dual") as move, move.instance():
        move.fill(40)
        move.fill(10, SOURCE, 1000, OTHER)
        others = move.contents(SOURCE, OTHER)
        move.migrate("--wait")
        assert move.refused("migration", "complete", "--confirm", "acme") == (7, "wrong_name")
        done = move.steer("complete", "--confirm", SLUG)
        signed = done["evidence"]["certificate"]
        public = move.practice.open().repository.info.public_key
        check(signed, public)
        document = signed["certificate"]
        assert (document["removed_from_source"], document["left_in_source"]) == (40, 0)
        assert document["proof"]["source"] == document["proof"]["target"]
        assert document["epochs"]["dual"] < document["epochs"]["switched"]
        forged = copy.deepcopy(signed)
        forged["certificate"]["removed_from_source"] = 39
        with pytest.raises(RemoteError) as caught:
            check(forged, public)
        assert caught.value.code == "signature_invalid"
        assert move.contents(SOURCE, OTHER) == others
        assert len(move.contents(TARGET)) == 40
        placement = move.placement
        assert placement is not None
        assert (placement.primary.shard, placement.secondary) == ("to", None)


def test_it_wants_a_switch_a_fresh_proof_and_a_key_before_it_deletes(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(10)
        move.migrate()
        assert move.refused("migration", "complete", "--confirm", SLUG) == (7, "move_phase")
        move.steer("cutover")
        move.sql(
            "UPDATE aeterna_ops.tenant_move SET evidence = jsonb_set(evidence, '{proof,at}',"
            " '\"2026-01-01T00:00:00+00:00\"')"
        )
        assert move.refused("migration", "complete", "--confirm", SLUG) == (7, "proof_stale")
        move.steer("verify")
        key = move.practice.open().signing_key_file
        hidden = key.rename(key.with_suffix(".hidden"))
        assert move.refused("migration", "complete", "--confirm", SLUG) == (
            7,
            "signing_key_missing",
        )
        assert move.count(SOURCE) == 10
        hidden.rename(key)
        move.steer("complete", "--confirm", SLUG)
        assert move.count(SOURCE) == 0


def test_a_writer_that_stayed_with_the_source_is_not_deleted(begin: Begin) -> None:
    """A newer point there comes along; the tenant's others do not come back."""
    with begin("reread") as move:
        move.fill(10)
        move.migrate("--wait")
        from tests.integration.stores.moving import point

        late = point(3, 9, move.tenant)
        move.server.ask("PUT", f"/collections/{SOURCE}/points?wait=true", {"points": [late]})
        done = move.steer("complete", "--confirm", SLUG)
        assert done["evidence"]["rescued_at_the_end"] == 1
        assert move.contents(TARGET)[3][0]["version"] == 9
