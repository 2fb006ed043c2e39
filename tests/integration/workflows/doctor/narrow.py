"""Users of the lab's servers that have what ``doctor --grants`` prints, and profiles of theirs."""

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeterna_cli.lab import openbao
from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.lab.requests import request
from aeterna_cli.lab.valkey import client
from aeterna_cli.stores.redis_privileges import PASSWORD_HASH, password_hash
from tests.integration.deployment import NAME, Practice

PASSWORD = "narrow-x7"


@dataclass(frozen=True)
class Narrow:
    """One purpose's users; ``name`` is the profile's and the PostgreSQL role's."""

    practice: Practice
    purpose: str
    name: str
    printed: dict[str, str]

    def sql(self, *statements: str) -> None:
        with superuser(self.practice.lab.place(), DATABASE) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def acl(self, *rules: str) -> None:
        with client(self.practice.lab.place()) as redis:
            redis.execute_command("ACL", "SETUSER", f"aeterna_{self.purpose}", *rules)

    def vault_policy(self, text: str) -> None:
        self._vault("PUT", f"sys/policies/acl/{self.name}", policy=text)

    def grant(self) -> None:
        """Exactly what was printed; may be repeated."""
        self.sql(self.printed["postgres"], f"ALTER ROLE \"{self.name}\" PASSWORD '{PASSWORD}'")
        words = self.printed["redis"].replace(PASSWORD_HASH, password_hash(PASSWORD)).split()
        assert words[:3] == ["ACL", "SETUSER", f"aeterna_{self.purpose}"]
        self.acl(*words[3:])
        self.vault_policy(self.printed["vault"])

    def token(self) -> str:
        made = self._vault(
            "POST", "auth/token/create", policies=[self.name], no_default_policy=True
        )
        return str(made["auth"]["client_token"])

    def write_profile(self, config: Path, folder: Path) -> None:
        """A profile like the practice's whose users are these."""
        tree: dict[str, Any] = tomllib.loads(config.read_text(encoding="utf-8"))["profiles"][NAME]
        password, token = folder / f"{self.name}-password", folder / f"{self.name}-token"
        password.write_text(PASSWORD, encoding="utf-8")
        token.write_text(self.token(), encoding="utf-8")
        users = {"password_file": str(password)}
        tree["postgres"] |= {"user": self.name, **users}
        tree["redis"] |= {"user": f"aeterna_{self.purpose}", **users}
        signing = str(self.practice.open().signing_key_file)
        tree["keys"] |= {"token_file": str(token), "signing_key_file": signing}
        with config.open("a", encoding="utf-8") as file:
            file.write("\n".join(lab_profile.table(f"profiles.{self.name}", tree)) + "\n")

    def remove(self) -> None:
        name = f'"{self.name}"'
        with client(self.practice.lab.place()) as redis:
            redis.execute_command("ACL", "DELUSER", f"aeterna_{self.purpose}")
        own = "ALTER SCHEMA aeterna_ops OWNER TO aeterna_backup"  # as the lab's own role made it
        self.sql(own, f"REASSIGN OWNED BY {name} TO aeterna_backup", f"DROP OWNED BY {name}")
        self.sql(f"DROP ROLE {name}")

    def _vault(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        place = self.practice.lab.place()
        headers = {
            "X-Vault-Request": "true",
            "X-Vault-Token": place.secrets.read(openbao.ROOT_TOKEN) or "",
        }
        body = json.dumps(fields).encode()
        answer = request(method, place.ports["vault"], f"/v1/{path}", headers=headers, body=body)
        assert answer.status in (200, 204), answer.body
        return dict(answer.document())


@contextmanager
def narrow(practice: Practice, folder: Path, purpose: str) -> Iterator[Narrow]:
    """Users for one purpose, made of what the command line prints for a profile that names them."""
    name = f"narrow-{purpose}"
    config = Path(practice.environment["AETERNA_CONFIG"])
    with config.open("a", encoding="utf-8") as file:
        tree = tomllib.loads(config.read_text(encoding="utf-8"))["profiles"][NAME]
        tree["postgres"]["user"] = name
        file.write("\n".join(lab_profile.table(f"profiles.plan-{purpose}", tree)) + "\n")
    words = ("doctor", "--grants", "--purpose", purpose, "--profile", f"plan-{purpose}")
    made = Narrow(practice, purpose, name, practice.cli.ok(*words).data)
    made.grant()
    made.write_profile(config, folder)
    try:
        yield made
    finally:
        made.remove()
