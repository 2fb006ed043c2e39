"""Lines for people: nothing moves the cursor, nothing breaks a shell, nothing is dropped."""

from aeterna_cli.lab.seed.tenants import HOSTILE
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.tenant import view
from aeterna_cli.workflows.tenant.census import Nobody, Share
from aeterna_cli.workflows.tenant.view import nobody_lines, printable, shell_safe, total_lines
from tests.unit.workflows.tenant.given import SHARED, census, collection


def test_control_and_direction_characters_are_spelled_out() -> None:
    assert printable("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
    assert printable("Ümläut 名前 é🦀 100%") == "Ümläut 名前 é🦀 100%"


def test_names_that_a_shell_would_act_on_are_not_offered() -> None:
    slugs = ["acme-corp", "a b", "$(rm)", "a;b", "-rf", "`x`", "*", "~root", "", HOSTILE, "ü"]
    tenants = [TenantIdentity(f"id-{n}", slug, "", "", None) for n, slug in enumerate(slugs)]
    assert [one for one in shell_safe(tenants) if not one.startswith("id-")] == ["acme-corp"]


def test_what_is_nobodys_beyond_the_longest_list_is_added_up() -> None:
    made = census([collection(SHARED, {"a": 1})])
    number = view.MOST_NOBODIES + 7
    for n in range(number):
        made.nobody[Nobody(f"ghost-{n}", "no such tenant")] = Share(points=n + 1)
    made.total.points = 1 + sum(range(number + 1))
    lines = nobody_lines(made)
    assert len(lines) == view.MOST_NOBODIES + 1
    assert lines[0].name == f"ghost-{number - 1}"
    assert lines[-1].why == "7 more of these"
    assert 1 + sum(one.counts.points for one in lines) == total_lines(made)[-1].counts.points
