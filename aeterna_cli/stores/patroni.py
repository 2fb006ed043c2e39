"""Patroni's REST API. Every node is asked by itself, and no answer to a request is believed.

A 503 may still succeed, a 200 may name another node, a 412 is a refusal, and what a node knows of
the others is up to ``loop_wait`` old. Source: patroni.readthedocs.io, REST API; measured.
"""

import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from aeterna_cli.errors import (
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.settings import PatroniSettings
from aeterna_cli.stores.base.patroni import Asked, Member, PatroniView

#: seconds for a question; Patroni answers a switchover only when it is done
_ASK = 3.0
_REFUSED = frozenset({400, 409, 412})
_LONGEST = 600  # characters of an answer that are repeated


class Patroni:
    """The nodes of ``settings.urls``. Constructing it contacts nothing; nothing is kept open."""

    def __init__(self, settings: PatroniSettings) -> None:
        self._settings = settings

    def views(self) -> tuple[PatroniView, ...]:
        """Every node's view, in the order of the profile; all are asked at the same time."""
        urls = self._settings.urls
        with ThreadPoolExecutor(max(1, len(urls)), "patroni") as threads:
            return tuple(threads.map(self.view, urls))

    def view(self, url: str) -> PatroniView:
        """Never raises for what a node does; its ``error`` says it."""
        try:
            with self._client(url, _ASK) as client:
                me = _document(client.get("/patroni"))
                cluster = _document(client.get("/cluster"))
            members = tuple(_member(one) for one in cluster["members"])
        except (httpx.HTTPError, OSError) as error:
            return PatroniView(url, f"does not answer: {error or type(error).__name__}")
        except (KeyError, TypeError, ValueError, AttributeError):
            return PatroniView(url, "does not answer as Patroni does")
        paused = bool(cluster.get("pause")) or bool(me.get("pause"))
        return PatroniView(url, "", me, members, paused, str(cluster.get("scope", "")))

    def configuration(self) -> dict[str, Any]:
        """The dynamic configuration, of the first node that tells."""
        return dict(self._first("/config"))

    def history(self) -> list[Any]:
        """Timeline, position, reason, time and new leader of every promotion, oldest first."""
        found = self._first("/history")
        return list(found) if isinstance(found, list) else []

    def switchover(self, leader: str, candidate: str, seconds: float) -> Asked:
        """Ask for it. ``RefusedError('patroni_refused')`` where it says that it will not."""
        return self._ask("/switchover", {"leader": leader, "candidate": candidate}, seconds)

    def failover(self, candidate: str, seconds: float) -> Asked:
        """As ``switchover``, where there is no leader to agree."""
        return self._ask("/failover", {"candidate": candidate}, seconds)

    def _ask(self, path: str, body: dict[str, str], seconds: float) -> Asked:
        """By the first node that can be reached: any of them may be asked."""
        said = "no node was reached"
        for url in self._settings.urls:
            try:
                with self._client(url, seconds, connect=_ASK) as client:
                    answer = client.post(path, json=body, auth=self._login)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                said = f"{url} cannot be reached: {error or type(error).__name__}"
                continue
            except (httpx.HTTPError, OSError) as error:
                return Asked(0, f"the answer was cut off: {error or type(error).__name__}", False)
            return _judged(answer)
        raise TransientError("patroni_unreachable", said, hint="is patroni.urls right?")

    def _first(self, path: str) -> Any:
        said = "the profile names no node"
        for url in self._settings.urls:
            try:
                with self._client(url, _ASK) as client:
                    return _document(client.get(path))
            except (httpx.HTTPError, OSError, ValueError) as error:
                said = f"{url}: {error or type(error).__name__}"
        raise TransientError("patroni_unreachable", f"no node of Patroni answers: {said}")

    @property
    def _login(self) -> httpx.Auth:
        if self._settings.user is None:
            return httpx.Auth()
        return httpx.BasicAuth(self._settings.user, self._settings.secret() or "")

    def _client(self, url: str, seconds: float, connect: float | None = None) -> httpx.Client:
        timeout = httpx.Timeout(seconds, connect=connect or seconds)
        verify = self._tls() if url.startswith("https:") else False
        return httpx.Client(base_url=url, timeout=timeout, verify=verify, trust_env=False)

    def _tls(self) -> ssl.SSLContext:
        tls = self._settings.tls
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.certificate_file is not None:
                context.load_cert_chain(tls.certificate_file, tls.key_file)
        except OSError as error:
            raise UsageError(
                "patroni_tls_files_unreadable",
                f"cannot use the TLS files of Patroni: {error.strerror or error}",
                hint="check patroni.tls in the profile",
            ) from error
        return context


def living(views: Sequence[PatroniView]) -> list[PatroniView]:
    return [one for one in views if not one.error]


def _judged(answer: httpx.Response) -> Asked:
    text = answer.text.strip()[:_LONGEST]
    if answer.status_code in (401, 403):
        raise AuthenticationError(
            "patroni_credentials_refused",
            "Patroni refuses our login",
            hint="check patroni.user and patroni.password_file in the profile",
        )
    if answer.status_code in _REFUSED:
        raise RefusedError(
            "patroni_refused",
            f"Patroni will not: {text}",
            next_steps=["aeterna-cli failover status --component postgres"],
        )
    if answer.status_code == 404:
        raise RemoteError("patroni_answer_unknown", "what answers there is not Patroni's REST API")
    return Asked(answer.status_code, text, sure=answer.status_code == 200)


def _document(answer: httpx.Response) -> Any:
    """Patroni answers about itself with 503 too, where PostgreSQL does not run."""
    return answer.json()


def _member(facts: dict[str, Any]) -> Member:
    timeline = facts.get("timeline")
    return Member(
        name=str(facts["name"]),
        role=str(facts["role"]),
        state=str(facts["state"]),
        host=str(facts.get("host", "")),
        port=int(facts.get("port", 0)),
        timeline=int(timeline) if timeline is not None else None,
        tags=dict(facts.get("tags") or {}),
    )
