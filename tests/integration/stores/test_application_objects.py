"""The application's buckets: every object counted for whose it is, any name read and written."""

import io
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest

from aeterna_cli.datamap import rules
from aeterna_cli.datamap.objects import ObjectClass, ObjectMap
from aeterna_cli.errors import ConflictError, InterruptedByUser, RefusedError
from aeterna_cli.lab import profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.objects import seed_objects
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores.application_objects import ApplicationObjects
from tests.integration.stores.tenant_lab import EVERYONE, IDENTITIES, IDS, SEED
from tests.unit.datamap.given_tenants import HOSTILE, NEIGHBOURS, one

pytestmark = pytest.mark.integration
RULES = rules.load()
JUDGE = ObjectMap.of(RULES, IDENTITIES)
NEAR = ObjectMap.of(RULES, NEIGHBOURS)
SLASHED = HOSTILE.replace("\\", "")


@pytest.fixture
def application(lab: Lab) -> Iterator[ApplicationObjects]:
    name = profile.APPLICATION
    opened = ApplicationObjects(profile.build(lab.place()).object_stores[name], name)
    yield opened
    opened.close()


@pytest.fixture
def scratch(lab: Lab) -> Iterator[ApplicationObjects]:
    """A prefix of its own in the repository's bucket, which nobody counts."""
    settings = profile.build(lab.place()).repository
    url = f"s3://aeterna-backups/tenants-{secrets.token_hex(6)}"
    made = settings.model_copy(update={"url": url, "part_bytes": 5 << 20})
    opened = ApplicationObjects(RepositorySettings.model_validate(made.model_dump()), "scratch")
    yield opened
    opened.delete([found.key for found in opened.objects()])
    opened.close()


def test_what_the_seed_wrote_is_what_is_found(application: ApplicationObjects) -> None:
    seen: dict[str, ObjectClass] = {}
    tally = application.tally(JUDGE, each=lambda found, judged: seen.update({found.key: judged}))
    wrote = {found.key: found for found in seed_objects(SEED, EVERYONE)}
    assert seen.keys() == wrote.keys()
    for key, found in wrote.items():
        assert seen[key].tenants == (() if found.tenant is None else (IDS[found.tenant],)), key
    counts = Counter(found.tenant for found in wrote.values() if found.tenant is not None)
    sizes: Counter[str] = Counter()
    for found in wrote.values():
        sizes[found.tenant or ""] += len(found.body)
    for slug, identifier in IDS.items():
        assert (tally.of(identifier).count, tally.of(identifier).bytes) == (
            counts[slug],
            sizes[slug],
        )
    assert counts["vacant-ltd"] == 0
    assert not tally.unclassified
    assert tally.total.count == len(wrote)
    assert {one.rule_name for one in seen.values()} >= {rule.name for rule in JUDGE.rules}


@pytest.mark.parametrize(
    "key",
    [
        f"{SLASHED}/exports/1.tar.gz",
        "a b+c&d=e?f#g/ü日本🦀/100%/%2F",
        "line\nbreak/tab\t",
        "quote'\"<&>/`$(x)",
        "..dots../.hidden",
    ],
)
def test_any_name_is_written_listed_read_and_removed(scratch: ApplicationObjects, key: str) -> None:
    body = key.encode() * 3
    assert scratch.write(key, io.BytesIO(body)) == len(body)
    (found,) = scratch.objects()
    assert (found.key, found.size) == (key, len(body))
    with scratch.read(key) as source:
        assert source.read() == body
    assert scratch.delete([key]) == 1
    assert list(scratch.objects()) == []


def test_a_prefix_with_a_slash_lists_one_tenant_alone(scratch: ApplicationObjects) -> None:
    for slug in ("tenant-1", "tenant-11"):
        scratch.write(f"{slug}/exports/1.tar.gz", io.BytesIO(b"x"))
    assert [found.key for found in scratch.objects("tenant-1/")] == ["tenant-1/exports/1.tar.gz"]
    assert len(list(scratch.objects("tenant-1"))) == 2
    tally = scratch.tally(NEAR)
    assert tally.of(one("tenant-1").id).count == tally.of(one("tenant-11").id).count == 1


def test_nothing_is_overwritten_unless_asked(scratch: ApplicationObjects) -> None:
    scratch.write("a", io.BytesIO(b"first"))
    with pytest.raises(ConflictError) as refused:
        scratch.write("a", io.BytesIO(b"second"))
    assert refused.value.code == "object_exists"
    with scratch.read("a") as source:
        assert source.read() == b"first"
    assert scratch.write("a", io.BytesIO(b"second"), replace=True) == 6
    with scratch.read("a") as source:
        assert source.read() == b"second"


@pytest.mark.parametrize("replace", [False, True])
def test_an_object_of_several_parts(scratch: ApplicationObjects, replace: bool) -> None:
    body = secrets.token_bytes(11 << 20)
    assert scratch.write("large", io.BytesIO(body), replace=replace) == len(body)
    with scratch.read("large") as source:
        assert source.read() == body


def test_more_objects_than_a_page(scratch: ApplicationObjects) -> None:
    for number in range(7):
        scratch.write(f"acme/exports/{number}", io.BytesIO(b"x"))
    paged = ApplicationObjects(scratch._settings, "paged", page=3)
    assert [found.key for found in paged.objects()] == [f"acme/exports/{n}" for n in range(7)]
    assert paged.tally(NEAR).of(one("acme").id).count == 7
    paged.close()


def test_a_missing_object_and_a_missing_bucket(scratch: ApplicationObjects, lab: Lab) -> None:
    with pytest.raises(RefusedError) as refused:
        scratch.read("none").__enter__()
    assert refused.value.code == "object_missing"
    settings = profile.build(lab.place()).repository
    elsewhere = ApplicationObjects(
        settings.model_copy(update={"url": "s3://aeterna-misspelt"}), "misspelt"
    )
    for ask in (
        lambda: elsewhere.write("a", io.BytesIO(b"x")),
        lambda: list(elsewhere.objects()),
    ):
        with pytest.raises(RefusedError) as missing:
            ask()
        assert missing.value.code == "bucket_missing"
    elsewhere.close()


def test_a_stop_ends_the_listing(application: ApplicationObjects) -> None:
    with pytest.raises(InterruptedByUser):
        application.tally(JUDGE, stop=lambda: True)
