"""``doctor --grants``: the least that each store must grant, ready to paste."""

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.repository import layout
from aeterna_cli.workflows.doctor.platform import Purpose

#: read: datamap, tenant list, show and classify. tenant-restore: restore run --tenant-id, beside
#: what reads the backup. move: shard and tenant migrate, in PostgreSQL.
GrantPurpose = Literal["backup", "restore", "read", "tenant-restore", "move"]


def run(ctx: Context, purpose: str) -> Result:
    """Contacts nothing: everything follows from the profile. ``UsageError('purpose_unknown')``."""
    known: tuple[GrantPurpose, ...] = get_args(GrantPurpose)
    wanted = next((one for one in known if one == purpose), None)
    if wanted is None:
        raise UsageError("purpose_unknown", f"unknown purpose {purpose!r}: {', '.join(known)}")
    found = grants(ctx.deployment, wanted)
    return Result("aeterna.doctor.grants/1", {"purpose": wanted, **found}, lambda: _view(found))


def grants(place: Deployment, purpose: GrantPurpose) -> Mapping[str, str]:
    """What to run or store, by store: SQL, ACL line, S3 policy (JSON), Vault policy (HCL)."""
    from aeterna_cli.stores.postgres_privileges import least_privilege_sql
    from aeterna_cli.stores.redis_privileges import least_privilege_acl

    found = {"postgres": least_privilege_sql(place.profile.postgres, purpose)}
    match purpose:
        case "backup" | "restore":
            return {**found, "redis": least_privilege_acl(purpose), **_backups(place, purpose)}
        case "tenant-restore":
            return {**found, **_backups(place, "restore")}
        case "read":
            return {**found, "redis": least_privilege_acl("read"), **_lists(place)}
        case "move":
            return found


def _lists(place: Deployment) -> Mapping[str, str]:
    """The list of every bucket of the application."""
    from aeterna_cli.stores.s3_policy import s3_list_policy

    found = {}
    for name, store in place.profile.object_stores.items():
        bucket, _, prefix = store.url.removeprefix("s3://").partition("/")
        found[f"s3 {name}"] = json.dumps(s3_list_policy(bucket, prefix), indent=2)
    return found


def _backups(place: Deployment, purpose: Purpose) -> Mapping[str, str]:
    """The repository and its keys."""
    from aeterna_cli.stores.s3_policy import s3_policy
    from aeterna_cli.stores.vault_policy import transit_policy

    profile, found = place.profile, dict[str, str]()
    if profile.repository.url.startswith("s3://"):
        bucket, _, prefix = profile.repository.url.removeprefix("s3://").partition("/")
        policy = s3_policy(bucket, prefix, purpose)
        policy["Statement"] += _own_objects(bucket, prefix, purpose)
        found["s3"] = json.dumps(policy, indent=2)
    if profile.keys.provider == "vault":
        found["vault"] = transit_policy(profile.keys.mount, profile.keys.key_name, purpose)
    return found


def _own_objects(bucket: str, prefix: str, purpose: Purpose) -> list[dict[str, Any]]:
    """Beside a backup's data: doctor takes its probes away again, and a restore keeps a lease and a
    journal, without which it does not begin."""

    def rule(name: str, action: str, *folders: str) -> dict[str, Any]:
        below = "/".join(part for part in (bucket, prefix.strip("/")) if part)
        places = [f"arn:aws:s3:::{below}/{folder}/*" for folder in folders]
        return {"Sid": name, "Effect": "Allow", "Action": [action], "Resource": places}

    rules = [rule("RemoveProbes", "s3:DeleteObject", "probe")]
    if purpose == "restore":
        written = (layout.LEASES, layout.OPERATIONS, "probe")
        rules.append(rule("KeepLeasesAndJournals", "s3:PutObject", *written))
    return rules


def _view(found: Mapping[str, str]) -> str:
    return "\n\n".join(f"# {store}\n{text.rstrip()}" for store, text in found.items())
