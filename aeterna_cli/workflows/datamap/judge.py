"""Judging what Qdrant, Redis and the buckets hold by the map: one pass over each.

A store that does not answer, or that our user may not read, is a finding and never silence: the
command must not call clean what it did not see. The other stores are judged all the same.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeterna_cli.context import Context
from aeterna_cli.datamap import store_findings
from aeterna_cli.datamap.collections import CollectionMap
from aeterna_cli.datamap.keys import SEPARATOR as COLON
from aeterna_cli.datamap.keys import KeyClass
from aeterna_cli.datamap.known import KnownTenants
from aeterna_cli.datamap.objects import SEPARATOR as SLASH
from aeterna_cli.datamap.survey import Mask, Survey
from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    FailedError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.stores.base.catalogue import quoted
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.datamap.build import Begun

if TYPE_CHECKING:
    from aeterna_cli.stores.application_objects import ApplicationObjects
    from aeterna_cli.stores.redis_tenants import RedisTenants

#: what keeps one store from being judged; a signal or a wrong profile ends the command
FAULTS = (AuthenticationError, TransientError, RemoteError, RefusedError, FailedError)


@dataclass(frozen=True)
class StoreChecked:
    """``name``: of a further Qdrant server, or of a bucket. ``judged`` is ``all``, ``sample`` (so
    many as were asked for) or ``no``. ``seen`` are tables, collections, keys or objects, of which
    ``classified`` fit a rule."""

    store: str
    name: str
    judged: str
    seen: int
    classified: int


@dataclass(frozen=True)
class Verdict:
    store: StoreChecked
    findings: tuple[Finding, ...]


def not_checked(store: str, name: str, error: AeternaError, mend: str = "") -> Verdict:
    """What is said of a store that nobody could look at."""
    finding = Finding(
        "store_not_checked",
        "error",
        f"{store}: {name}" if name else store,
        f"not judged: {error.message}",
        mend or error.hint or "; ".join(error.next_steps) or "run it again when the store answers",
        {"error": error.code},
    )
    return Verdict(StoreChecked(store, name, "no", 0, 0), (finding,))


class Judge:
    """``sample``: look at so many keys, and objects of each bucket; None for all. ``names``: show a
    real name of each form."""

    def __init__(self, ctx: Context, begun: Begun, sample: int | None, names: bool) -> None:
        self._ctx, self._begun = ctx, begun
        self._sample, self._names = sample, names

    def verdicts(self, store: str) -> Iterator[Verdict]:
        yield from {"qdrant": self._qdrant, "redis": self._redis, "objects": self._objects}[store]()

    # -- Qdrant

    def _qdrant(self) -> Iterator[Verdict]:
        for server in self._begun.servers:
            self._ctx.stop.check()
            try:
                yield self._server(server)
            except FAULTS as error:
                yield not_checked("qdrant", server, error, self._key_mend(server, error))

    def _key_mend(self, server: str, error: AeternaError) -> str:
        """Shards are read from our own schema of PostgreSQL, collections from Qdrant."""
        if error.code == "missing_privilege":
            return f"GRANT pg_read_all_data TO {quoted(self._begun.map.role.name)}"
        key = f"qdrant_servers.{server}.api_key_file" if server else "qdrant.api_key_file"
        denied = isinstance(error, AuthenticationError)
        return f"{key}: a key that may read every collection" if denied else ""

    def _server(self, server: str) -> Verdict:
        map_ = self._begun.collections(server)
        found = [*store_findings.of_collections(server, map_), *self._fields(server, map_)]
        seen, unknown = len(map_.classes), len(map_.unclassified())
        return Verdict(StoreChecked("qdrant", server, "all", seen, seen - unknown), tuple(found))

    def _fields(self, server: str, map_: CollectionMap) -> Iterator[Finding]:
        """Shared collections in which the rule looks for the tenant where it is not."""
        opened = self._begun.place.qdrant_tenants(server)
        for question in map_.questions():
            self._ctx.stop.check()
            if question.owner is None and opened.names_tenants(question) is False:
                yield store_findings.field_missing(server, map_[question.collection])

    # -- Redis

    def _redis(self) -> Iterator[Verdict]:
        store = self._begun.place.redis_tenants()
        try:
            line, lacking = store.lacking()
            if lacking:
                yield _narrow(line, ", ".join(lacking))
            else:
                yield self._keys(store)
        except FAULTS as error:
            denied = error.code == "redis_permission_missing"
            yield not_checked("redis", "", error, _acl_mend() if denied else "")

    def _keys(self, store: "RedisTenants") -> Verdict:
        judge, number = self._begun.keys, store.number()
        patterns = [rule.pattern for rule in judge.rules]
        survey = Survey(Mask(COLON, self._known, patterns))
        for batch in store.judged(judge, most=self._sample, stop=lambda: self._ctx.stop.requested):
            types = store.types([key for key, _ in batch])
            for (key, found), kind in zip(batch, types, strict=True):
                self._key(survey, key.decode(errors="backslashreplace"), found, kind)
            self._ctx.out.progress("judging keys", survey.total, number, "keys")
        rules = {rule.name: rule for rule in judge.rules}
        findings = store_findings.of_keys(survey, rules, names=self._names)
        more = self._sample is not None and survey.total < number
        return self._surveyed("redis", "", survey, tuple(findings), more)

    def _key(self, survey: Survey, name: str, found: KeyClass, kind: str) -> None:
        survey.add(name, found)
        if found.rule is None or found.holder == "ours" or kind == "none":
            return
        if kind != ("set" if found.holder == "index" else found.rule.type):
            survey.misfit(name, found.rule_name, kind)

    # -- objects

    def _objects(self) -> Iterator[Verdict]:
        stores = self._begun.place.application_objects()
        if not stores:
            message = "the profile names none of the application's buckets: nobody looked at any"
            mend = "add object_stores.NAME with its url to the profile, if there are some"
            nothing = Finding("no_buckets", "info", "objects", message, mend)
            yield Verdict(StoreChecked("objects", "", "no", 0, 0), (nothing,))
        for store in stores:
            self._ctx.stop.check()
            try:
                yield self._bucket(store)
            except FAULTS as error:
                denied = isinstance(error, AuthenticationError)
                mend = _policy(self._begun.place.profile.object_stores[store.name].url)
                yield not_checked("objects", store.name, error, mend if denied else "")

    def _bucket(self, store: "ApplicationObjects") -> Verdict:
        judge, more = self._begun.objects, False
        survey = Survey(Mask(SLASH, self._known, [rule.pattern for rule in judge.rules]))
        for found in store.objects():
            self._ctx.stop.check()
            if self._sample is not None and survey.total >= self._sample:
                more = True
                break
            survey.add(found.key, judge.classify(found.key, store.name))
            self._ctx.out.progress(f"judging {store.name}", survey.total, None, "objects")
        rules = {rule.name: rule for rule in judge.rules}
        findings = store_findings.of_objects(store.name, survey, rules, names=self._names)
        return self._surveyed("objects", store.name, survey, tuple(findings), more)

    def _surveyed(
        self, store: str, name: str, survey: Survey, findings: tuple[Finding, ...], more: bool
    ) -> Verdict:
        if more:
            message = (
                f"only {survey.total:,} were looked at, as --sample says: the rest is not known"
            )
            subject = f"{store}: {name}" if name else store
            findings += (Finding("sampled", "info", subject, message, "leave --sample out"),)
        judged = "sample" if more else "all"
        return Verdict(StoreChecked(store, name, judged, survey.total, survey.classified), findings)

    @property
    def _known(self) -> KnownTenants:
        return KnownTenants.of(self._begun.tenants)


def _narrow(line: str, lacking: str) -> Verdict:
    message = f"not judged: our user may not: {lacking}"
    finding = Finding("store_not_checked", "error", "redis", message, line, {"acl": line})
    return Verdict(StoreChecked("redis", "", "no", 0, 0), (finding,))


def _acl_mend() -> str:
    from aeterna_cli.stores.redis_privileges import least_privilege_acl

    return least_privilege_acl("read")


def _policy(url: str) -> str:
    from aeterna_cli.stores.s3_policy import s3_list_policy

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return f"allow the list: {json.dumps(s3_list_policy(bucket, prefix)['Statement'][0])}"
