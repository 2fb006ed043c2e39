"""Vault's transit engine on a real OpenBao."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.lab.part import Place
from aeterna_cli.settings import KeySettings
from aeterna_cli.stores.backoff import Backoff
from aeterna_cli.stores.base.keys import KeyService
from aeterna_cli.stores.key_services import open_key_service
from aeterna_cli.stores.vault import VaultKeyService
from aeterna_cli.stores.vault_policy import VaultPurpose, transit_policy
from tests.conformance.key_service import KeyServiceConformance
from tests.faults.certificate import authority, mutual_tls
from tests.faults.http_proxy import Fault, fault_proxy
from tests.integration.stores.s3_server import openbao_place, vault_settings

__all__ = ["authority", "openbao_place", "vault_settings"]  # fixtures

pytestmark = pytest.mark.integration
QUICK = Backoff(attempts=3, first=0.01, ceiling=0.01)
CONTEXT = b"backup-1"


def changed(settings: KeySettings, **values: object) -> VaultKeyService:
    return VaultKeyService(
        KeySettings.model_validate({**settings.model_dump(), **values}), backoff=QUICK
    )


@pytest.fixture
def service(vault_settings: KeySettings) -> VaultKeyService:
    made = changed(vault_settings)
    made.ensure_key()
    return made


def raw_client(settings: KeySettings, token: str | None) -> Any:
    from hvac import Client

    return Client(url=settings.address, token=token)


@pytest.fixture
def client(vault_settings: KeySettings) -> Any:
    return raw_client(vault_settings, vault_settings.secret())


class TestConformance(KeyServiceConformance):
    @pytest.fixture
    def make(self, vault_settings: KeySettings) -> Callable[[], KeyService]:
        return lambda: open_key_service(vault_settings, environment="production")

    @pytest.fixture
    def other(self, vault_settings: KeySettings) -> KeyService:
        return changed(vault_settings, key_name="another-key")


def test_an_old_secret_opens_after_rotation_and_under_a_new_name(
    service: VaultKeyService, vault_settings: KeySettings, client: Any
) -> None:
    old = service.wrap(b"old", context=CONTEXT)
    client.secrets.transit.rotate_key(name=vault_settings.key_name)
    new = service.wrap(b"new", context=CONTEXT)
    assert (old.key_version, new.key_version) == ("1", "2")
    renamed = changed(vault_settings, key_name="the-next-key")
    assert renamed.unwrap(old, context=CONTEXT) == b"old"
    assert renamed.unwrap(new, context=CONTEXT) == b"new"


def test_a_version_no_longer_allowed_is_refused(
    service: VaultKeyService, vault_settings: KeySettings, client: Any
) -> None:
    old = service.wrap(b"old", context=CONTEXT)
    client.secrets.transit.rotate_key(name=vault_settings.key_name)
    client.secrets.transit.update_key_configuration(
        name=vault_settings.key_name, min_decryption_version=2
    )
    with pytest.raises(RefusedError) as caught:
        service.unwrap(old, context=CONTEXT)
    assert caught.value.code == "unwrap_refused"


@pytest.mark.parametrize("key_id", ["transit/gone", "nowhere/key"])
def test_a_key_that_is_gone_is_named(service: VaultKeyService, key_id: str) -> None:
    wrapped = service.wrap(b"x", context=CONTEXT)
    with pytest.raises(RefusedError, match=key_id) as caught:
        service.unwrap(replace(wrapped, key_id=key_id), context=CONTEXT)
    assert caught.value.code == "key_missing"


@pytest.mark.parametrize("key_id", ["", "key", "../sys/raw", "transit/../../sys/x", "a b/c", "/k"])
def test_a_key_slot_cannot_send_us_elsewhere(service: VaultKeyService, key_id: str) -> None:
    wrapped = service.wrap(b"x", context=CONTEXT)
    with pytest.raises(RefusedError) as caught:
        service.unwrap(replace(wrapped, key_id=key_id), context=CONTEXT)
    assert caught.value.code == "unwrap_refused"


def test_a_key_that_ignores_the_context_is_refused(
    vault_settings: KeySettings, client: Any
) -> None:
    name = f"plain-{secrets.token_hex(4)}"
    client.secrets.transit.create_key(name=name)
    service = changed(vault_settings, key_name=name)
    for use in (lambda: service.wrap(b"x", context=CONTEXT), service.ensure_key):
        with pytest.raises(RefusedError) as caught:
            use()
        assert caught.value.code == "key_not_derived"
    assert [found.code for found in service.probe()] == ["key_not_derived"]


def test_an_unsafe_key_is_warned_of(
    service: VaultKeyService, vault_settings: KeySettings, client: Any
) -> None:
    assert list(service.probe()) == []
    client.secrets.transit.update_key_configuration(
        name=vault_settings.key_name, exportable=True, deletion_allowed=True
    )
    assert {(found.code, found.severity) for found in service.probe()} == {
        ("key_exportable", "warning"),
        ("key_deletion_allowed", "warning"),
    }


@pytest.mark.parametrize(
    ("purpose", "wraps", "unwraps", "makes"),
    [
        ("backup", True, False, False),
        ("restore", False, True, False),
        ("setup", False, False, True),
    ],
)
def test_a_policy_allows_its_purpose_and_no_more(
    vault_settings: KeySettings,
    client: Any,
    purpose: VaultPurpose,
    *,
    wraps: bool,
    unwraps: bool,
    makes: bool,
) -> None:
    from hvac.exceptions import Forbidden

    name = vault_settings.key_name
    client.sys.create_or_update_policy(name=name, policy=transit_policy("transit", name, purpose))
    token = client.auth.token.create(policies=[name])["auth"]["client_token"]
    able, limited = changed(vault_settings), changed(vault_settings, token=token)

    def allowed(use: Callable[[], object]) -> bool:
        try:
            use()
        except AuthenticationError:
            return False
        return True

    assert allowed(limited.ensure_key) is makes
    able.ensure_key()
    wrapped = able.wrap(b"x", context=CONTEXT)
    assert allowed(lambda: limited.wrap(b"x", context=CONTEXT)) is wraps
    assert allowed(lambda: limited.unwrap(wrapped, context=CONTEXT)) is unwraps
    mine = raw_client(vault_settings, token).secrets.transit
    for forbidden in (
        lambda: mine.rotate_key(name=name),
        lambda: mine.export_key(name=name, key_type="encryption-key"),
        lambda: mine.update_key_configuration(name=name, deletion_allowed=True),
        lambda: mine.delete_key(name=name),
        lambda: mine.read_key(name="another-key"),
    ):
        with pytest.raises(Forbidden):
            forbidden()


@pytest.mark.parametrize(
    ("values", "kind", "code"),
    [
        ({"token": "wrong"}, AuthenticationError, "vault_denied"),
        ({"token": None}, UsageError, "vault_token_missing"),
        ({"address": "http://127.0.0.1:9"}, TransientError, "vault_unreachable"),
        ({"mount": "elsewhere"}, RefusedError, "key_missing"),
    ],
)
def test_a_wrong_place_is_named(
    service: VaultKeyService,
    vault_settings: KeySettings,
    values: dict[str, str],
    kind: type[AeternaError],
    code: str,
) -> None:
    with pytest.raises(kind) as caught:
        changed(vault_settings, **values).wrap(b"x", context=CONTEXT)
    assert caught.value.code == code
    token = vault_settings.secret()
    assert token is not None
    assert token not in str(caught.value.as_document())


def test_a_short_absence_is_waited_out_and_a_long_one_told(
    service: VaultKeyService, vault_settings: KeySettings, openbao_place: Place
) -> None:
    with fault_proxy(openbao_place.url("vault")) as proxy:
        before = changed(vault_settings, address=proxy.address, timeout=2)
        proxy.break_once("PUT", "/encrypt/", Fault(status=503), Fault(cut_before=True))
        proxy.break_once("POST", "/encrypt/", Fault(status=503), Fault(cut_before=True))
        wrapped = before.wrap(b"x", context=CONTEXT)
        assert service.unwrap(wrapped, context=CONTEXT) == b"x"
        proxy.break_always("POST", "/encrypt/", Fault(status=503))
        with pytest.raises(TransientError) as caught:
            before.wrap(b"x", context=CONTEXT)
        assert caught.value.code == "vault_sealed"
        assert proxy.count("POST", "/encrypt/") == QUICK.attempts


def test_tls_wants_the_right_authority_and_certificate(
    vault_settings: KeySettings, openbao_place: Place, authority: Path
) -> None:
    def with_tls(**tls: Path) -> VaultKeyService:
        return changed(vault_settings, address=proxy.address, tls={"enabled": True, **tls})

    with fault_proxy(openbao_place.url("vault"), tls=mutual_tls(authority)) as proxy:
        good = with_tls(ca_file=authority, certificate_file=authority)
        good.ensure_key()
        assert list(good.probe()) == []
        with pytest.raises(RemoteError) as caught:
            with_tls(certificate_file=authority).probe()
        assert caught.value.code == "certificate_refused"
        with pytest.raises(AeternaError) as nobody:
            with_tls(ca_file=authority).probe()
        assert nobody.value.code in ("tls_failed", "vault_unreachable")
        with pytest.raises(UsageError) as missing:
            with_tls(ca_file=authority.with_name("absent.pem")).probe()
        assert missing.value.code == "tls_file_missing"


def test_a_name_that_is_no_key_is_a_mistake() -> None:
    for name in ("", "../x", "a/../b", "a b"):
        with pytest.raises(UsageError):
            VaultKeyService(KeySettings(key_name=name))
