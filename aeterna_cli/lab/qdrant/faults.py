"""Faults on demand, for tests of what a client does then. Only with ``--allow-faults``.

``POST /lab/faults`` replaces all faults; ``DELETE /lab/faults`` removes them::

    {"snapshot": "refuse" | "truncate" | "slow",   # making, streaming, uploading, downloading
     "every": "503" | "500" | "429" | ... | "slow" | "lost",  # any other request
     "path": "/points", "method": "PUT",           # only requests that contain or have this
     "after": 2, "times": 1, "seconds": 1.0}       # let 2 pass, then 1 fault; delay of "slow"

``lost`` does the work and breaks the connection before the answer.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from aeterna_cli.lab.qdrant.refusals import Refusal, bad_format, forbidden

_SNAPSHOT = ("refuse", "truncate", "slow")
_KNOWN = {"snapshot", "every", "path", "method", "after", "times", "seconds"}


@dataclass
class Fault:
    snapshot: str | None = None
    every: str | None = None
    path: str = ""
    method: str = ""
    after: int = 0
    times: int | None = None
    seconds: float = 1.0

    @classmethod
    def parse(cls, document: dict[str, Any]) -> "Fault":
        if document.keys() - _KNOWN:
            raise bad_format(f"unknown fault switches: {sorted(document.keys() - _KNOWN)}")
        fault = cls(**document)
        if fault.snapshot not in (None, *_SNAPSHOT):
            raise bad_format(f"snapshot: one of {', '.join(_SNAPSHOT)}")
        every = fault.every
        if every not in (None, "slow", "lost") and not (
            every.isdigit() and 400 <= int(every) < 600
        ):
            raise bad_format("every: a status from 400 to 599, slow or lost")
        return fault

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is one of those; counts it."""
        if self.path not in path or self.method not in ("", method):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
            return self.times >= 0
        return True


class Faults:
    """The faults of one server; none at its start."""

    def __init__(self) -> None:
        self.current: Fault | None = None

    async def before(self, method: str, path: str) -> str | None:
        """Delay or refuse the request; else what is to happen to its answer (or None)."""
        fault = self.current
        if fault is None or path.startswith("/lab/"):
            return None
        wanted = (fault.snapshot if "/snapshot" in path else None) or fault.every
        if wanted is None or not fault.strikes(method, path):
            return None
        if wanted == "slow":
            await asyncio.sleep(fault.seconds)
            return None
        if wanted == "refuse":
            raise forbidden("this server is read-only (fault of the lab)")
        if wanted.isdigit():
            raise Refusal(int(wanted), f"Service internal error: fault of the lab, {wanted}")
        return wanted
