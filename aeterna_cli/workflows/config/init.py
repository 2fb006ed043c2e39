"""``config init``: a new profile to fill in, beside those that are there."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aeterna_cli import profiles
from aeterna_cli.errors import ConflictError, UsageError
from aeterna_cli.output.result import Result

_ENVIRONMENTS = ("lab", "development", "staging", "production")

_TEMPLATE = """
[profiles.{name}]
environment = "{environment}"        # production asks more before it changes anything
deployment = "{name}"                # the repository belongs to exactly one deployment

[profiles.{name}.postgres]
host = "127.0.0.1"
port = 5432
user = "aeterna_backup"              # aeterna-cli doctor --grants prints what it needs
password_file = "/run/secrets/aeterna/postgres"
# replica = "replica.example:5432"   # base backups are read from here
# tls = {{ enabled = true, ca_file = "/run/secrets/aeterna/ca.pem" }}

[profiles.{name}.qdrant]
url = "http://127.0.0.1:6333"
api_key_file = "/run/secrets/aeterna/qdrant"

[profiles.{name}.redis]
host = "127.0.0.1"
port = 6379
password_file = "/run/secrets/aeterna/redis"

[profiles.{name}.repository]
url = "s3://aeterna-backups/{name}"
# endpoint_url = "https://s3.example"
# access_key_id = "..."              # else the usual AWS chain
# secret_access_key_file = "/run/secrets/aeterna/s3"

[profiles.{name}.keys]
provider = "vault"
address = "https://vault.example:8200"
token_file = "/run/secrets/aeterna/vault-token"
# age public keys whose owners can open every backup without Vault; production demands one
offline_recipients = []
"""


@dataclass(frozen=True)
class Written:
    profile: str
    path: Path


def run(name: str, environment: str) -> Result:
    """Append the profile to the configuration file, mode 0600, in one atomic replacement.

    ``UsageError`` for a name or environment that cannot be; ``ConflictError`` where the profile
    exists: then nothing is written.
    """
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise UsageError("profile_name", f"{name!r} is no profile name: letters, digits, - and _")
    if environment not in _ENVIRONMENTS:
        raise UsageError(
            "environment_unknown",
            f"{environment!r} is no environment",
            hint=f"one of {', '.join(_ENVIRONMENTS)}",
        )
    path = profiles.config_path()
    if name in profiles.read_toml(path).get("profiles", {}):
        raise ConflictError(
            "profile_exists",
            f"profile {name!r} is already in {path}",
            next_steps=[f"aeterna-cli config show --profile {name}"],
        )
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    _replace(path, before + _TEMPLATE.format(name=name, environment=environment))
    return Result(
        "aeterna.config.init/1",
        Written(name, path),
        lambda: (
            f"wrote profile {name} to {path}; fill it in, then: "
            f"aeterna-cli config show --origin --profile {name}"
        ),
    )


def _replace(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".config-", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
    except OSError as error:
        raise UsageError("config_unwritable", f"cannot write {path}: {error.strerror}") from error
