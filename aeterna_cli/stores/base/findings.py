"""Findings: what judging commands have to say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something a judging command has to say. ``severity`` is error, warning or info."""

    code: str
    severity: str
    subject: str
    message: str
    mend: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
