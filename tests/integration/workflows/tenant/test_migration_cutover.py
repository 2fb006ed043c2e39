"""``tenant migration cutover``: all or nothing within the bound."""

from pathlib import Path

import pytest

from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SOURCE, TARGET

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.parametrize("contract", ["dual", "reread"])
def test_a_bound_that_cannot_be_kept_changes_nothing(begin: Begin, contract: str) -> None:
    with begin(contract, hold_limit=0.0001) as move, move.instance():
        move.fill(50)
        before = move.migrate()
        assert move.refused("migration", "cutover") == (4, "cutover_missed")
        after = move.steer("status")
        for name in ("phase", "served_by", "state", "epoch", "source_points"):
            assert after[name] == before[name]
        assert move.count(SOURCE) == 50


def test_a_write_that_does_not_end_makes_the_cutover_wait_for_another_time(begin: Begin) -> None:
    """The instance cannot say that it holds while a write of it is under way."""
    with begin("dual") as move, move.instance() as client:
        move.fill(50)
        move.migrate()
        with client.writing(move.tenant):
            assert move.refused("migration", "cutover") == (4, "cutover_missed")
            placement = move.placement
            assert placement is not None
            assert (placement.primary.shard, placement.state) == ("from", "dual")
        with client.writing(move.tenant) as again:  # nobody is held any more
            assert again is not None
        assert move.steer("cutover")["served_by"] == "to"


def test_a_proof_of_yesterday_is_refused_until_it_is_renewed(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(20)
        move.migrate()
        move.sql(
            "UPDATE aeterna_ops.tenant_move SET evidence = jsonb_set(evidence, '{proof,at}',"
            " '\"2026-01-01T00:00:00+00:00\"')"
        )
        assert move.refused("migration", "cutover") == (7, "proof_stale")
        move.steer("verify")
        assert move.steer("cutover")["phase"] == "soak"
        assert move.steer("cutover")["phase"] == "soak"  # asked again, nothing is done


@pytest.mark.parametrize("broken", ["hold", "switch"])
def test_a_program_that_fails_leaves_the_platform_as_it_was_or_held(
    begin: Begin, tmp_path: Path, broken: str
) -> None:
    """Before the switch began it may write again; from then on only forward, with writes held."""
    path, mended = tmp_path / "hooks", tmp_path / "mended"

    def hook(verb: str) -> tuple[str, ...]:
        end = f"test -e {mended}" if verb == broken else "true"
        return ("sh", "-c", f"echo {verb} $AETERNA_MOVE_COLLECTION >> {path}; {end}")

    hooks = {verb: hook(verb) for verb in ("hold", "switch", "release")}
    with begin("maintenance", **hooks) as move:
        move.fill(20)
        move.migrate()
        assert move.refused("migration", "cutover") == (1, "hook_failed")
        said = path.read_text().split()[::2]
        assert set(path.read_text().split()[1::2]) == {TARGET}
        after = move.steer("status")
        assert (after["phase"], after["served_by"]) == ("cutover", "from")
        if broken == "hold":
            assert said == ["hold", "release"]
            assert move.steer("cancel")["phase"] == "cancelled"
            return
        assert said == ["hold", "switch"]
        assert move.refused("migration", "cancel") == (1, "switch_unknown")
        mended.touch()
        assert move.steer("cutover")["served_by"] == "to"
        assert path.read_text().split()[::2] == [*said, "hold", "switch", "release"]
