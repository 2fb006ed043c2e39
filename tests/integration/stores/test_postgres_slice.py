"""A tenant's rows back into a live database: all of them, exactly, and nobody else's."""

from collections.abc import Iterator

import pytest

from aeterna_cli.errors import AuthenticationError, RefusedError, RemoteError
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.tenants import HOSTILE
from tests.integration.stores.tenant_rows import Database, database

pytestmark = pytest.mark.integration

#: one of the platform's, its twin by lossy names, and one whose every field is hostile
LATE = "0b4b6f5e-0000-4000-8000-00000000beef"
PARTLY = b"CREATE UNIQUE INDEX partly ON memory_entries (lower(content)) WHERE content LIKE 'x%'"
SLUGS = ("acme-corp", "acme_corp", HOSTILE)


@pytest.fixture(scope="module")
def filled(lab: Lab) -> Iterator[Database]:
    with database(lab, "slices") as made:
        yield made


def nothing() -> None:
    return


def test_what_was_damaged_comes_back_and_nothing_else_changes(filled: Database) -> None:
    saved = filled.save("acme-corp")
    before = filled.everything()
    tenant = filled.tenants()["acme-corp"]
    with filled.sql() as server:
        server.execute(
            "DELETE FROM memory_entries WHERE tenant_id = %s AND ctid IN"
            " (SELECT ctid FROM memory_entries WHERE tenant_id = %s LIMIT 5)",
            (tenant.id, tenant.id),
        )
        server.execute("UPDATE companies SET name = 'ruined' WHERE tenant_id = %s", (tenant.id,))
        server.execute("DELETE FROM knowledge_items WHERE tenant_id = %s", (tenant.id,))
        server.execute("DELETE FROM tenant_secrets WHERE tenant_id = %s", (tenant.id,))
    assert filled.everything() != before
    with filled.staged("acme-corp", saved) as session:
        session.require_silent()
        looked = session.preview("replace")
        assert looked.conflicts == 0
        done = session.apply("replace", nothing)
    assert done.changes == looked.changes
    assert filled.everything() == before
    changed = {one.table: one for one in done.changes}
    assert changed["memory_entries"].inserted == 5
    assert changed["memory_entries"].deleted == 0
    assert changed["memory_entries"].equal == changed["memory_entries"].staged - 5
    assert (changed["companies"].deleted, changed["companies"].inserted) == (1, 1)
    with filled.staged("acme-corp", saved) as session:  # again: there is nothing to do
        again = session.apply("replace", nothing)
    assert all(not (one.inserted or one.deleted) for one in again.changes)


def test_the_tenants_own_row_and_all_below_it_come_back(filled: Database) -> None:
    """The worst mistake: a deletion that cascades, and leaves rows behind that nobody owns."""
    for slug in SLUGS:
        tenant = filled.tenants()[slug]
        saved, before = filled.save(slug), filled.everything()
        with filled.sql() as server:
            people = server.execute(
                "SELECT default_tenant_id, updated_at, id FROM users"
            ).fetchall()
            server.execute("SET session_replication_role = origin")
            server.execute("DELETE FROM agents WHERE tenant_id = %s", (tenant.id,))
            server.execute("DELETE FROM tenants WHERE id = %s", (tenant.id,))
        audited = filled.everything()["referential_audit_log"]
        with filled.staged(tenant, saved) as session:
            session.apply("replace", nothing)
        found = filled.everything()
        assert found["referential_audit_log"][0] == audited[0]  # our writing was not audited
        changed = {name for name in found if found[name] != before[name]}
        # The deletion itself was; and persons of other tenants too lost their default tenant.
        assert changed <= {"referential_audit_log", "users"}, slug
        assert found["users"][0] == before["users"][0]
        with filled.sql() as server:
            server.cursor().executemany(
                "UPDATE users SET default_tenant_id = %s, updated_at = %s WHERE id = %s", people
            )
        assert filled.everything()["users"] == before["users"]


def test_mode_missing_only_adds(filled: Database) -> None:
    saved, tenant = filled.save("globex"), filled.tenants()["globex"]
    with filled.sql() as server:
        server.execute(
            "DELETE FROM memory_entries WHERE ctid IN"
            " (SELECT ctid FROM memory_entries WHERE tenant_id = %s LIMIT 3)",
            (tenant.id,),
        )
        server.execute("UPDATE companies SET name = 'newer' WHERE tenant_id = %s", (tenant.id,))
    before = filled.everything()
    with filled.staged("globex", saved) as session:
        looked = session.preview("missing")
        assert filled.everything() == before
        done = session.apply("missing", nothing)
    assert done.changes == looked.changes
    assert not any(one.deleted for one in done.changes)
    changed = {one.table: one for one in done.changes}
    assert (changed["memory_entries"].inserted, changed["companies"].kept) == (3, 1)
    found = filled.everything()
    assert [name for name in found if found[name] != before[name]] == ["memory_entries"]
    assert found["memory_entries"][0] == before["memory_entries"][0] + 3
    with filled.staged("globex", saved) as session:
        session.apply("replace", nothing)


def test_values_that_others_have_now_are_told_before_anything_is_written(
    filled: Database,
) -> None:
    """A primary key, and a value that is unique over all tenants."""
    saved, tenant = filled.save("initech"), filled.tenants()["initech"]
    other = filled.tenants()["globex"]
    with filled.sql() as server:
        (first,) = server.execute(
            "SELECT id FROM memory_entries WHERE tenant_id = %s ORDER BY id LIMIT 1", (tenant.id,)
        ).fetchone()
        server.execute("UPDATE memory_entries SET tenant_id = %s WHERE id = %s", (other.id, first))
        server.execute("UPDATE tenants SET slug = 'renamed' WHERE id = %s", (tenant.id,))
        server.execute("UPDATE tenants SET slug = 'initech' WHERE id = %s", (other.id,))
    before = filled.everything()
    for mode in ("replace", "missing"):
        with filled.staged(tenant, saved) as session:
            with pytest.raises(RefusedError) as caught:
                session.apply(mode, nothing)
            assert session.preview(mode).conflicts >= 1
        assert caught.value.code == "values_taken"
        told = caught.value.details["conflicts"]
        assert first in {one["live"].strip("()") for one in told}
        assert filled.everything() == before
    assert "tenants_slug_key" in " ".join(one["unique"] for one in told) or mode == "missing"
    with filled.sql() as server:
        server.execute("UPDATE tenants SET slug = 'globex' WHERE id = %s", (other.id,))
        server.execute("UPDATE memory_entries SET tenant_id = %s WHERE id = %s", (tenant.id, first))
    with filled.staged(tenant, saved) as session:
        session.apply("replace", nothing)


def test_what_is_unique_in_a_part_or_by_an_expression_counts_too(filled: Database) -> None:
    saved = filled.save("initech")
    tenant, other = filled.tenants()["initech"], filled.tenants()["globex"]
    with filled.sql() as server:
        server.execute(PARTLY)
        (first,) = server.execute(
            "SELECT id FROM memory_entries WHERE tenant_id = %s ORDER BY id LIMIT 1",
            (tenant.id,),
        ).fetchone()
        server.execute("UPDATE memory_entries SET content = 'x%%ONE' WHERE id = %s", (first,))
    saved_again = filled.save("initech")
    with filled.sql() as server:
        server.execute("UPDATE memory_entries SET content = 'y' WHERE id = %s", (first,))
        (victim, kept) = server.execute(
            "SELECT id, content FROM memory_entries WHERE tenant_id = %s LIMIT 1", (other.id,)
        ).fetchone()
        server.execute("UPDATE memory_entries SET content = 'x%%one' WHERE id = %s", (victim,))
    with filled.staged("initech", saved_again) as session, pytest.raises(RefusedError) as caught:
        session.apply("replace", nothing)
    (told,) = caught.value.details["conflicts"]
    assert (told["unique"], told["live"].strip("()")) == ("public.partly", victim)
    with filled.sql() as server:
        server.execute("UPDATE memory_entries SET content = %s WHERE id = %s", (kept, victim))
        server.execute("DROP INDEX partly")
    with filled.staged("initech", saved) as session:
        session.apply("replace", nothing)


def test_rows_that_would_refer_to_nothing_roll_everything_back(filled: Database) -> None:
    """An agent of another tenant acts for somebody who came after the backup and would go."""
    saved, tenant = filled.save("initech"), filled.tenants()["initech"]
    other = filled.tenants()["globex"]
    with filled.sql() as server:
        agent, user = server.execute(
            "SELECT id, delegated_by_user_id FROM agents"
            " WHERE tenant_id = %s AND delegated_by_user_id IS NOT NULL LIMIT 1",
            (other.id,),
        ).fetchone()
        server.execute(
            "INSERT INTO users (id, email, default_tenant_id) VALUES (%s, 'late@x', %s)",
            (LATE, tenant.id),
        )
        server.execute("UPDATE agents SET delegated_by_user_id = %s WHERE id = %s", (LATE, agent))
    before = filled.everything()
    with filled.staged("initech", saved) as session, pytest.raises(RefusedError) as caught:
        session.apply("replace", nothing)
    assert caught.value.code == "references_broken"
    assert filled.everything() == before
    with filled.sql() as server:
        server.execute("UPDATE agents SET delegated_by_user_id = %s WHERE id = %s", (user, agent))
        server.execute("DELETE FROM users WHERE id = %s", (LATE,))


def test_a_row_that_the_archive_does_not_name_is_found_out(filled: Database) -> None:
    saved = filled.save("initech")
    whole = saved.content["memory_entries"]
    saved.content["memory_entries"] = whole[whole.index(b"\n") + 1 :]
    with pytest.raises(RemoteError) as caught, filled.staged("initech", saved):
        pass
    assert caught.value.code == "rows_differ"


def test_a_role_that_may_not_silence_triggers_is_refused_with_the_grant(
    filled: Database,
) -> None:
    saved = filled.save("initech")
    role = filled.settings.user
    with filled.sql() as server:
        server.execute(f"REVOKE SET ON PARAMETER session_replication_role FROM {role}".encode())
    try:
        with (
            filled.staged("initech", saved) as session,
            pytest.raises(AuthenticationError) as caught,
        ):
            session.require_silent()
    finally:
        with filled.sql() as server:
            server.execute(f"GRANT SET ON PARAMETER session_replication_role TO {role}".encode())
    assert caught.value.code == "replication_role_refused"
    assert caught.value.next_steps == (
        'GRANT SET ON PARAMETER session_replication_role TO "aeterna_restore"',
    )


def test_a_trigger_that_nothing_silences_is_refused(filled: Database) -> None:
    saved = filled.save("initech")
    with filled.sql() as server:
        (name,) = server.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'companies'::regclass"
            " AND NOT tgisinternal ORDER BY 1 LIMIT 1"
        ).fetchone()
        server.execute(f"ALTER TABLE companies ENABLE ALWAYS TRIGGER {name}".encode())
    try:
        with filled.staged("initech", saved) as session, pytest.raises(RefusedError) as caught:
            session.require_silent()
    finally:
        with filled.sql() as server:
            server.execute(f"ALTER TABLE companies ENABLE TRIGGER {name}".encode())
    assert caught.value.code == "trigger_fires_always"


def test_sequences_are_never_behind_what_came(filled: Database) -> None:
    with filled.sql() as server:
        highest, owner = server.execute(
            "SELECT e.id, t.slug FROM graph_events e JOIN tenants t ON e.tenant_id = t.id::text"
            " ORDER BY e.id DESC LIMIT 1"
        ).fetchone()
        saved = filled.save(owner)
        server.execute("DELETE FROM graph_events WHERE id = %s", (highest,))
        server.execute("SELECT setval('graph_events_id_seq', 1)")
    with filled.staged(owner, saved) as session:
        done = session.apply("replace", nothing)
    assert done.sequences == ("public.graph_events_id_seq",)
    with filled.sql() as server:
        (now,) = server.execute("SELECT last_value FROM graph_events_id_seq").fetchone()
    assert now == highest


def test_a_person_of_two_tenants_is_never_taken_away(filled: Database) -> None:
    """Somebody who joined another tenant since, and whose name changed, stays as they are."""
    saved, tenant = filled.save("acme-corp"), filled.tenants()["acme-corp"]
    with filled.sql() as server:
        (person, name) = server.execute(
            "SELECT u.id, u.name FROM users u WHERE u.default_tenant_id = %s ORDER BY id LIMIT 1",
            (tenant.id,),
        ).fetchone()
        (team,) = server.execute(
            "SELECT t.id FROM teams t JOIN organizations o ON o.id = t.org_id"
            " JOIN companies c ON c.id = o.company_id WHERE c.tenant_id = %s LIMIT 1",
            (filled.tenants()["globex"].id,),
        ).fetchone()
        server.execute(
            "INSERT INTO memberships (user_id, team_id, role) VALUES (%s, %s, 'member')",
            (person, team),
        )
        server.execute("UPDATE users SET name = 'Renamed' WHERE id = %s", (person,))
    before = filled.everything()
    with filled.staged("acme-corp", saved) as session:
        done = session.apply("replace", nothing)
    found = filled.everything()
    changed = {one.table: one for one in done.changes}
    assert changed["users"].shared >= 1
    assert changed["users"].deleted == 0
    assert found["users"] == before["users"]
    with filled.sql() as server:
        server.execute("UPDATE users SET name = %s WHERE id = %s", (name, person))
        server.execute(
            "DELETE FROM memberships WHERE user_id = %s AND team_id = %s", (person, team)
        )
