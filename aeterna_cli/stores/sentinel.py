"""Sentinels: who is primary, which replicas there are, whether a failover could be agreed on.

Every Sentinel is asked by itself, because they may disagree; what they say is told, and the truth
is what the servers themselves say. CKQUORUM is read raw: a client library of today calls its "OK"
false. Source: the Sentinel commands, https://valkey.io/topics/sentinel/; measured.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores.addresses import split_address
from aeterna_cli.stores.base.sentinel import Address, ReplicaSeen, SentinelView
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, error_of

PORT = 26379
#: seconds; a Sentinel that is asked while somebody waits for a primary must answer at once
PATIENCE = 3.0


def settings_of(settings: RedisSettings, sentinel: str) -> RedisSettings:
    """The profile's Redis as a connection to one of its Sentinels."""
    host, port = split_address(sentinel, PORT)
    return settings.model_copy(
        update={
            "host": host,
            "port": port,
            "sentinels": (),
            "database": 0,
            "user": settings.sentinel_user,
            "password": settings.sentinel_password,
            "password_file": settings.sentinel_password_file,
            "timeout": min(settings.timeout, PATIENCE),
        }
    )


def primary_address(settings: RedisSettings) -> Address:
    """Whom the Sentinels call the primary; among different answers that of the highest epoch.

    ``TransientError('sentinel_unreachable')`` where none answers, ``UsageError('sentinel_name')``
    with the names they know, ``AuthenticationError`` where all refuse our password.
    """
    found = views(settings, quorum=False)
    named = [one for one in found if one.primary is not None]
    if named:
        best = max(named, key=lambda one: one.epoch)
        assert best.primary is not None  # noqa: S101 - filtered above
        return best.primary
    raise _nobody(settings, found)


def views(settings: RedisSettings, *, quorum: bool = True) -> tuple[SentinelView, ...]:
    """Every Sentinel's view, in the order of the profile; all are asked at the same time."""
    with ThreadPoolExecutor(max(1, len(settings.sentinels)), "sentinel") as threads:
        return tuple(
            threads.map(lambda one: view(settings, one, quorum=quorum), settings.sentinels)
        )


def view(settings: RedisSettings, sentinel: str, *, quorum: bool = True) -> SentinelView:
    """Never raises for what a Sentinel does; its ``error`` says it."""
    name = settings.sentinel_name
    with closing(RedisConnection(settings_of(settings, sentinel))) as connection:
        try:
            facts = _pairs(connection.call("SENTINEL", "MASTER", name))
            if not quorum:
                return _view(sentinel, facts, (), "")
            replicas = [_pairs(one) for one in connection.call("SENTINEL", "REPLICAS", name)]
            (said,) = connection.replies([["SENTINEL", "CKQUORUM", name]])
            text = str(said) if isinstance(said, ErrorReply) else said.decode(errors="replace")
            return _view(sentinel, facts, replicas, text)
        except AuthenticationError as error:
            return SentinelView(sentinel, f"refused our login: {error.message}")
        except AeternaError as error:
            return SentinelView(sentinel, error.message)
        except (KeyError, ValueError, TypeError, AttributeError):
            return SentinelView(sentinel, "does not answer as a Sentinel does")


def names(settings: RedisSettings) -> tuple[str, ...]:
    """The primaries that the first Sentinel which answers watches."""
    for sentinel in settings.sentinels:
        with closing(RedisConnection(settings_of(settings, sentinel))) as connection:
            try:
                found = connection.call("SENTINEL", "MASTERS")
                return tuple(_pairs(one)["name"] for one in found)
            except (AeternaError, KeyError, ValueError, TypeError):
                continue
    return ()


def command(settings: RedisSettings, sentinel: str, *words: str) -> str:
    """A ``SENTINEL`` command's answer as text; an error reply is raised as a typed error."""
    with closing(RedisConnection(settings_of(settings, sentinel))) as connection:
        (answer,) = connection.replies([["SENTINEL", *words]])
        if isinstance(answer, ErrorReply):
            raise error_of(answer, connection.description)
        return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)


def _view(
    sentinel: str, facts: dict[str, str], replicas: Sequence[dict[str, str]], quorum: str
) -> SentinelView:
    return SentinelView(
        address=sentinel,
        primary=(facts["ip"], int(facts["port"])),
        epoch=int(facts["config-epoch"]),
        flags=frozenset(facts["flags"].split(",")),
        replicas=tuple(_replica(one) for one in replicas),
        others=int(facts["num-other-sentinels"]),
        wanted=int(facts["quorum"]),
        quorum=quorum,
        usable=quorum.startswith("OK"),
        facts=facts,
    )


def _replica(facts: dict[str, str]) -> ReplicaSeen:
    return ReplicaSeen(
        address=(facts["ip"], int(facts["port"])),
        flags=frozenset(facts["flags"].split(",")),
        link_up=facts.get("master-link-status") == "ok",
        offset=int(facts.get("slave-repl-offset", 0)),
        priority=int(facts.get("slave-priority", 100)),
    )


def _pairs(answer: object) -> dict[str, str]:
    """A flat list of names and values; ``ValueError`` for anything else."""
    if not isinstance(answer, list) or len(answer) % 2:
        raise ValueError(answer)
    words = [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in answer]
    return dict(zip(words[::2], words[1::2], strict=True))


def _nobody(settings: RedisSettings, found: Sequence[SentinelView]) -> AeternaError:
    said = "; ".join(f"{one.address}: {one.error}" for one in found)
    if any("refused our login" in one.error for one in found):
        return AuthenticationError(
            "sentinel_credentials_refused",
            f"no Sentinel accepts our login: {said}",
            hint="check redis.sentinel_user and redis.sentinel_password_file in the profile",
        )
    known = names(settings)
    if known:
        return UsageError(
            "sentinel_name",
            f"the Sentinels know no primary called {settings.sentinel_name!r}",
            hint=f"they know {', '.join(known)}; set redis.sentinel_name in the profile",
        )
    if any("as a Sentinel does" in one.error for one in found):
        return RemoteError("sentinel_answer_unknown", f"no Sentinel answers as one does: {said}")
    return TransientError(
        "sentinel_unreachable",
        f"no Sentinel of the profile answers: {said}",
        hint="are redis.sentinels right, and are they up?",
    )
