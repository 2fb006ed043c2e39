"""Profiles: layers, origins, and what is refused."""

from pathlib import Path

import pytest

from aeterna_cli import profiles
from aeterna_cli.errors import UsageError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("AETERNA_CONFIG", str(path))
    return path


def test_later_layers_win_and_are_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('[profiles.p.postgres]\nhost = "from-file"\nport = 1\nuser = "u"\n')
    monkeypatch.setenv("AETERNA_POSTGRES__PORT", "2")
    monkeypatch.setenv("AETERNA_POSTGRES__TLS__ENABLED", "true")
    loaded = profiles.load(overrides={"postgres": {"user": "from-flag"}})
    postgres = loaded.values.postgres
    assert (postgres.host, postgres.port, postgres.user) == ("from-file", 2, "from-flag")
    assert postgres.tls.enabled
    assert postgres.database == "postgres"
    assert loaded.origins == {
        "postgres.host": str(config),
        "postgres.port": "environment",
        "postgres.tls.enabled": "environment",
        "postgres.user": "flag",
    }


def test_a_misspelt_key_is_an_error_in_every_layer(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('[profiles.p.postgres]\nhots = "x"\n')
    with pytest.raises(UsageError, match=r"postgres\.hots"):
        profiles.load()
    config.write_text("[profiles.p]\n")
    monkeypatch.setenv("AETERNA_POSTGRES__HOTS", "x")
    with pytest.raises(UsageError, match=r"postgres\.hots"):
        profiles.load()


def test_a_secret_in_the_file_is_refused_and_not_repeated(config: Path) -> None:
    config.write_text('[profiles.p.postgres]\npassword = "hunter2"\n')
    with pytest.raises(UsageError) as caught:
        profiles.load()
    assert caught.value.code == "secret_in_config"
    assert "hunter2" not in str(caught.value.as_document())


def test_an_invalid_secret_in_the_environment_is_not_repeated(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("[profiles.p]\n")
    monkeypatch.setenv("AETERNA_POSTGRES__PORT", "hunter2")
    with pytest.raises(UsageError) as caught:
        profiles.load()
    assert "hunter2" not in str(caught.value.as_document())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[profiles.a]\n[profiles.b]\n", "profile_ambiguous"),
        ("", "profile_missing"),
        ("[profiles", "config_invalid"),
        ("[profiles]\na = 1\n", "config_invalid"),
    ],
)
def test_never_guesses_a_deployment(config: Path, text: str, code: str) -> None:
    config.write_text(text)
    with pytest.raises(UsageError) as caught:
        profiles.load()
    assert caught.value.code == code


def test_the_lab_is_the_default_only_where_nothing_else_is(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "profile.toml").write_text('[profiles.lab]\nenvironment = "lab"\n')
    monkeypatch.setenv("AETERNA_LAB_DIR", str(lab))
    assert profiles.load().name == "lab"
    config.write_text("[profiles.prod]\n")
    assert profiles.load().name == "prod"
    assert profiles.load("lab").values.environment == "lab"


def test_an_unknown_profile_names_the_known_ones(config: Path) -> None:
    config.write_text("[profiles.prod]\n")
    with pytest.raises(UsageError, match="known: prod"):
        profiles.load("prd")


def test_default_profile(config: Path) -> None:
    config.write_text('default_profile = "b"\n[profiles.a]\n[profiles.b]\n')
    assert profiles.load().name == "b"
