"""TLS settings are honoured: who is trusted, under which name."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.errors import AuthenticationError, UsageError
from aeterna_cli.settings import QdrantSettings, TlsSettings
from aeterna_cli.stores.qdrant import QdrantServer
from tests.integration.stores.qdrant_server import FaultProxy, lab_qdrant

pytest.importorskip("qdrant_edge")


def certificate(folder: Path, address: str | None) -> Path:
    """A self-signed certificate for ``qdrant.internal`` and, if given, an address."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "qdrant.internal")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName("qdrant.internal")]
    if address is not None:
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(params=["127.0.0.1", None])
def secured(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[FaultProxy, Path]]:
    path = certificate(tmp_path, request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with lab_qdrant(tmp_path / "qdrant") as lab, FaultProxy(lab.port, tls=context) as proxy:
        yield proxy, path


@pytest.mark.integration
def test_only_a_trusted_certificate_of_the_right_name_is_talked_to(
    secured: tuple[FaultProxy, Path], request: pytest.FixtureRequest
) -> None:
    proxy, path = secured
    named = TlsSettings(enabled=True, ca_file=path, server_name="qdrant.internal")
    with proxy.client(named) as client:
        assert client.identity().version
    for wrong in (
        TlsSettings(enabled=True),
        TlsSettings(enabled=True, ca_file=path, server_name="else.internal"),
    ):
        with proxy.client(wrong) as client, pytest.raises(AuthenticationError) as caught:
            client.identity()
        assert caught.value.code == "qdrant_certificate_refused"
    unnamed = TlsSettings(enabled=True, ca_file=path)
    with proxy.client(unnamed) as client:
        if "127.0.0.1" in request.node.name:
            assert client.identity().version
        else:
            with pytest.raises(AuthenticationError):
                client.identity()


def test_tls_without_https_is_a_mistake() -> None:
    settings = QdrantSettings(url="http://127.0.0.1:6333", tls=TlsSettings(enabled=True))
    with pytest.raises(UsageError) as caught:
        QdrantServer(settings)
    assert caught.value.code == "qdrant_url_not_https"


def test_files_that_cannot_be_read_are_a_mistake(tmp_path: Path) -> None:
    tls = TlsSettings(enabled=True, ca_file=tmp_path / "absent.pem")
    client = QdrantServer(QdrantSettings(url="https://127.0.0.1:9", tls=tls))
    with client, pytest.raises(UsageError) as caught:
        client.identity()
    assert caught.value.code == "qdrant_tls_files_unreadable"
