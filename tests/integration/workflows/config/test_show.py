"""``config show``: every value in force, which layer set it, and never a secret."""

import pytest

from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration

SECRET = "x7-not-the-password"


def test_every_value_names_its_layer(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_REDIS__TIMEOUT", "7")
    data = practice.cli.ok("config", "show", "--origin").data
    assert data["profile"] == NAME
    values = {one["key"]: (one["value"], one["origin"]) for one in data["values"]}
    assert values["redis.timeout"] == (7, "environment")
    assert values["postgres.connect_timeout"] == (10, "default")
    assert values["repository.url"][1].endswith("config.toml")


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
def test_a_secret_is_never_shown(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("AETERNA_REDIS__PASSWORD", SECRET)
    ran = practice.cli.ok("config", "show", "-o", form)
    assert SECRET not in ran.out + ran.err
    assert "(set)" in ran.out
