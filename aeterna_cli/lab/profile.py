"""The lab as a profile: addresses, file names of secrets, and never a secret itself."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aeterna_cli.lab import openbao, postgres, qdrant_process, seaweedfs, valkey
from aeterna_cli.lab.ha import patroni_node
from aeterna_cli.lab.names import POSTGRES_NODES, QDRANT_PEERS, REDIS_NODES, SENTINELS
from aeterna_cli.lab.part import Place
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.sentinel_answers import MASTER
from aeterna_cli.lab.state import write_file

if TYPE_CHECKING:
    from aeterna_cli.settings import Profile

FILE = "profile.toml"
NAME = "lab"
PREFIX = "repository"
APPLICATION = "application"


def tree(place: Place) -> dict[str, Any]:
    """The settings of the lab. Parts that were left out keep their own ports: nothing answers
    there, and no other server on this machine can be meant by mistake."""
    secret = place.secrets.path
    return {
        "environment": "lab",
        "deployment": place.lab_id,
        "postgres": {
            **_postgres_addresses(place),
            "database": postgres.DATABASE,
            "user": postgres.BACKUP,
            "password_file": str(secret(postgres.secret_name(postgres.BACKUP))),
            "restore_user": postgres.RESTORE,
            "restore_password_file": str(secret(postgres.secret_name(postgres.RESTORE))),
            "bin_dir": str(postgres.programs()),
        },
        "qdrant": {
            "url": place.url("qdrant"),
            **_qdrant_peers(place),
            "api_key_file": str(secret(qdrant_process.API_KEY)),
        },
        **({"patroni": _patroni(place)} if place.topology == "ha" else {}),
        "redis": {
            **_redis_addresses(place),
            "password_file": str(secret(valkey.PASSWORD)),
        },
        "repository": _bucket(place, f"s3://{seaweedfs.BUCKET}/{PREFIX}"),
        "object_stores": {
            APPLICATION: _bucket(place, f"s3://{seaweedfs.APPLICATION_BUCKET}"),
        },
        "keys": {
            "provider": "vault",
            "address": place.url("vault"),
            "token_file": str(secret(openbao.CLI_TOKEN)),
            "mount": openbao.MOUNT,
            "key_name": openbao.KEY,
        },
        "server_control": {"kind": "lab", "lab_dir": str(place.directory)},
    }


def _postgres_addresses(place: Place) -> dict[str, Any]:
    if place.topology == "single":
        return {"host": LOOPBACK, "port": place.ports["postgres"]}
    ports = [place.ports[name] for name in POSTGRES_NODES]
    return {
        "host": LOOPBACK,
        "port": ports[0],
        "hosts": [f"{LOOPBACK}:{port}" for port in ports],
    }


def _patroni(place: Place) -> dict[str, Any]:
    return {
        "urls": [place.url(f"{name}-rest") for name in POSTGRES_NODES],
        "user": patroni_node.REST_USER,
        "password_file": str(place.secrets.path(patroni_node.REST_PASSWORD)),
    }


def _qdrant_peers(place: Place) -> dict[str, Any]:
    if place.topology == "single":
        return {}
    return {"peers": [place.url(name) for name in QDRANT_PEERS], "timeout": 10}


def _redis_addresses(place: Place) -> dict[str, Any]:
    if place.topology == "single":
        return {"host": LOOPBACK, "port": place.ports["redis"]}
    return {
        "host": LOOPBACK,
        "port": place.ports[REDIS_NODES[0]],
        "sentinels": [f"{LOOPBACK}:{place.ports[name]}" for name in SENTINELS],
        "sentinel_name": MASTER,
    }


def _bucket(place: Place, url: str) -> dict[str, Any]:
    return {
        "url": url,
        "endpoint_url": place.url("s3"),
        "region": seaweedfs.REGION,
        "access_key_id": seaweedfs.ACCESS_KEY,
        "secret_access_key_file": str(place.secrets.path(seaweedfs.SECRET_KEY)),
    }


def build(place: Place) -> "Profile":
    from aeterna_cli.settings import Profile

    return Profile.model_validate(tree(place))


def write(place: Place, notes: Iterable[str]) -> None:
    """``profile.toml`` as the configuration loader reads it; notes become comments."""
    lines = ["# Written by `aeterna-cli lab up`; changes are lost.", *(f"# {n}" for n in notes)]
    lines += table(f"profiles.{NAME}", tree(place))
    write_file(place.directory / FILE, "\n".join(lines) + "\n")


def table(name: str, values: Mapping[str, Any]) -> list[str]:
    """One TOML table. JSON writes strings, numbers, booleans and arrays as TOML does."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    lines = ["", f"[{name}]"]
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += table(f"{name}.{key}", value)
    return lines


def environment(place: Place) -> dict[str, str]:
    """Variables that point other programs at the lab. Secrets stay in files; the two files that
    psql and S3 clients read are written here (mode 0600)."""
    passwords = place.secrets.path("pgpass")
    nodes = ["postgres"] if place.topology == "single" else list(POSTGRES_NODES)
    lines = [
        f"{LOOPBACK}:{place.ports[node]}:*:{role}:"
        f"{place.secrets.read(postgres.secret_name(role)) or ''}"
        for node in nodes
        for role in (postgres.BACKUP, postgres.APPLICATION, postgres.OWNER, postgres.SUPERUSER)
    ]
    place.secrets.put("pgpass", "\n".join(lines) + "\n")
    credentials = place.secrets.path("s3-credentials")
    place.secrets.put(
        "s3-credentials",
        f"[default]\naws_access_key_id = {seaweedfs.ACCESS_KEY}\n"
        f"aws_secret_access_key = {place.secrets.read(seaweedfs.SECRET_KEY) or ''}\n",
    )
    return {
        "AETERNA_LAB_DIR": str(place.directory),
        "AETERNA_PROFILE": NAME,
        "PGHOST": ",".join([LOOPBACK] * len(nodes)),
        "PGPORT": ",".join(str(place.ports[node]) for node in nodes),
        "PGTARGETSESSIONATTRS": "any" if len(nodes) == 1 else "read-write",
        "PGDATABASE": postgres.DATABASE,
        "PGUSER": postgres.APPLICATION,
        "PGPASSFILE": str(passwords),
        "AWS_ENDPOINT_URL": place.url("s3"),
        "AWS_REGION": seaweedfs.REGION,
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "VAULT_ADDR": place.url("vault"),
        "QDRANT_URL": place.url("qdrant"),
    }
