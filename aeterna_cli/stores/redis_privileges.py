"""The least that our users need: ACL lines to set, and whether the user at hand has them."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from aeterna_cli.stores.base.redis import IDENTITY_KEY, MARKER_KEY
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, Word

AclPurpose = Literal["backup", "restore", "read"]

#: Stands in the line for the hash: a password is never on a command line.
PASSWORD_HASH = "SHA256-OF-THE-PASSWORD"  # noqa: S105 - a placeholder

_LOOK = "+ping +info +select +time +config|get +acl|whoami +acl|dryrun"
_READ = (
    "+scan +type +pexpiretime +getrange +lrange +sscan +zscan +hscan {field_times}"
    "+xrange +xinfo|stream +xinfo|groups +xinfo|consumers +xpending +dump +memory|usage"
)
_OWN = "+get +set +exists"
_BACKUP = "+publish +psync +replconf +acl|list +function|list +function|dump"
#: what counting and judging keys asks, and nothing of any configuration: that tells passwords
_COUNT = "+ping +info +select +acl|whoami +acl|dryrun +scan +dbsize +type +getrange +memory|usage"
_RESTORE = (
    "+replicaof +config|set +bgrewriteaof +bgsave +flushall +multi +exec +restore +function|restore"
)

_PROBES: dict[AclPurpose, tuple[tuple[Word, ...], ...]] = {
    "read": (
        ("SCAN", "0"),
        ("TYPE", "any"),
        ("GETRANGE", "any", "0", "1"),
        ("MEMORY", "USAGE", "any"),
        ("DBSIZE",),
    ),
    "backup": (
        ("PSYNC", "?", "-1"),
        ("REPLCONF", "capa", "eof"),
        ("SET", IDENTITY_KEY, "x"),
        ("SET", MARKER_KEY, "1"),
        ("GET", "any"),
        ("SCAN", "0"),
        ("ACL", "LIST"),
        ("CONFIG", "GET", "*"),
    ),
    "restore": (
        ("REPLICAOF", "NO", "ONE"),
        ("CONFIG", "SET", "masteruser", "x"),
        ("RESTORE", "any", "0", "x"),
        ("FLUSHALL",),
        ("SET", IDENTITY_KEY, "x"),
        ("SCAN", "0"),
        ("BGSAVE",),
        ("BGREWRITEAOF",),
    ),
}


def password_hash(password: str) -> str:
    """What ACL SETUSER takes after ``#`` in place of a password."""
    return hashlib.sha256(password.encode()).hexdigest()


def least_privilege_acl(purpose: AclPurpose, *, field_times: bool = True) -> str:
    """One ACL SETUSER line; ``SHA256-OF-THE-PASSWORD`` in it is to be replaced.

    The backup user reads every key, hears every password that CONFIG GET tells, writes our own keys
    and tells news on our own channels, nothing else. The restore user replaces everything: it may
    set the configuration, so enable it for a restore and switch it off afterwards. The read user is
    enough for the data map and for counting tenants. ``field_times``:
    the server knows HPEXPIRETIME
    (Redis 7.4, Valkey 9); an older one refuses a rule that names it.
    """
    start = f"ACL SETUSER aeterna_{purpose} reset on #{PASSWORD_HASH}"
    if purpose == "read":
        return f"{start} %R~* -@all {_COUNT}"
    read = _READ.format(field_times="+hpexpiretime " if field_times else "")
    if purpose == "backup":
        return f"{start} %R~* ~aeterna-ops:* &aeterna-ops:* -@all {_LOOK} {read} {_OWN} {_BACKUP}"
    return f"{start} ~* -@all {_LOOK} {read} {_OWN} {_RESTORE}"


def missing_commands(connection: RedisConnection, purpose: AclPurpose) -> Sequence[str] | None:
    """What of a purpose our user may not do; None where the server does not let us find out.

    Source: ACL DRYRUN (7.0) answers OK or a sentence, and runs nothing.
    """
    (user,) = connection.replies([["ACL", "WHOAMI"]])
    if isinstance(user, ErrorReply):
        return None
    probes = _PROBES[purpose]
    answers = connection.replies([["ACL", "DRYRUN", user, *probe] for probe in probes])
    if any(isinstance(answer, ErrorReply) for answer in answers):
        return None
    return [
        " ".join(word.decode() if isinstance(word, bytes) else str(word) for word in probe[:2])
        for probe, answer in zip(probes, answers, strict=True)
        if answer != b"OK"
    ]
