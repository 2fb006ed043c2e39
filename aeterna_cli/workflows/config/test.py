"""``config test``: does everything in the profile answer, and is it what it was?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError, FindingsError, RefusedError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table


@dataclass(frozen=True)
class Answer:
    """What one store answered. ``identity`` is what the pin compares; ``milliseconds`` for one
    connection and question."""

    store: str
    ok: bool
    answer: str
    identity: str | None
    milliseconds: int
    code: str = ""


def run(ctx: Context) -> Result:
    """Asks every store once; changes nothing. Exit 8 where one does not answer as it should."""
    place = ctx.deployment
    answers = tuple(_ask(place, store, question) for store, question in _questions(place))
    result = Result("aeterna.config.test/1", answers, lambda: _view(place.name, answers))
    failed = [answer.store for answer in answers if not answer.ok]
    if failed:
        ctx.out.result(result)
        raise FindingsError("config_test_failed", f"{', '.join(failed)} did not pass")
    return result


Question = Callable[[], tuple[str, str | None]]


def _questions(place: Deployment) -> Iterator[tuple[str, Question]]:
    def postgres() -> tuple[str, str | None]:
        found = place.postgres.identity()
        role = "replica" if found.in_recovery else "primary"
        return f"PostgreSQL {found.server_version}, {role}", found.system_identifier

    def qdrant() -> tuple[str, str | None]:
        found = place.qdrant.identity()
        return f"Qdrant {found.version}, {len(found.collections)} collections", found.identity_key

    def redis() -> tuple[str, str | None]:
        found = place.redis.identity()
        return f"{found.flavour} {found.version}, {found.keys} keys", found.identity_key

    def repository() -> tuple[str, str | None]:
        found = place.repository.info
        return f"{place.objects.description}, format {found.format}", found.uuid

    def keys() -> tuple[str, str | None]:
        for finding in place.key_service.probe():
            if finding.severity == "error":
                raise RefusedError(finding.code, finding.message, hint=finding.mend)
        return place.key_service.description, None

    yield "postgres", postgres
    yield "qdrant", qdrant
    yield "redis", redis
    yield "repository", repository
    yield "keys", keys


def _ask(place: Deployment, store: str, question: Question) -> Answer:
    began = monotonic()

    def took() -> int:
        return round((monotonic() - began) * 1000)

    try:
        answer, identity = question()
        if identity is not None:
            place.pins.check({store: identity})
    except AeternaError as error:
        return Answer(store, False, error.message, None, took(), error.code)
    return Answer(store, True, answer, identity, took())


def _view(profile: str, answers: tuple[Answer, ...]) -> Table:
    return Table(
        ["store", "state", "answer", "identity", "ms"],
        [
            [a.store, "ok" if a.ok else a.code, a.answer, a.identity or "", str(a.milliseconds)]
            for a in answers
        ],
        title=f"profile {profile}",
        right=frozenset({"ms"}),
    )
