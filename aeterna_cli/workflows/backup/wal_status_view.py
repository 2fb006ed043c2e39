"""``backup wal status`` for people."""

from collections.abc import Iterator

from aeterna_cli.output.documents import rfc3339
from aeterna_cli.output.tables import Table, as_plain, human_bytes, human_seconds
from aeterna_cli.workflows.backup.wal_status import Status


def view(status: Status) -> str:
    """Ages first: that is what is asked at night."""
    parts = [_header(status), _ages(status), _windows(status), _stored(status), *_gaps(status)]
    lines = [*(f"note: {one}" for one in status.notes)]
    lines += [f"finding: {one}" for one in status.findings]
    return "\n".join([*parts, *lines])


def _header(status: Status) -> str:
    server, slot, lag = status.server, status.slot, status.lag
    lines = [f"PostgreSQL cluster {status.system or 'unknown'}"]
    if server.reachable:
        lines.append(f"  server    at {server.position} on timeline {server.timeline}")
    else:
        lines.append("  server    does not answer")
    if slot is not None:
        active = "active" if slot.active else "nobody receives"
        safe = human_bytes(slot.safe_bytes) if slot.safe_bytes is not None else "no limit"
        lines.append(
            f"  slot      {slot.name}: {active}, {slot.status},"
            f" holds {human_bytes(slot.retained_bytes)}, {safe} until it is lost"
        )
    if lag.seconds is not None:
        behind = f"{human_bytes(lag.bytes)}, " if lag.bytes is not None else ""
        lines.append(f"  receiver  {behind}{human_seconds(lag.seconds)} behind")
    else:
        lines.append("  receiver  nothing received yet")
    return "\n".join(lines) + "\n"


def _ages(status: Status) -> str:
    rows = [
        (
            one.store,
            human_seconds(one.seconds) if one.seconds is not None else "never",
            rfc3339(one.moment) if one.moment is not None else "-",
            one.from_backup or "-",
            "worst" if one.store == status.worst else "",
        )
        for one in status.stores
    ]
    return as_plain(
        Table(
            ("STORE", "AGE", "LAST RESTORABLE MOMENT", "BACKUP", ""),
            rows,
            title=f"Last restorable moment (target {status.target_seconds} s)",
        )
    )


def _windows(status: Status) -> str:
    rows = [
        (
            one.backup,
            rfc3339(one.since),
            rfc3339(one.until) if one.until is not None else "WAL IS MISSING",
            one.since_lsn,
            one.until_lsn,
            str(one.timeline),
        )
        for one in status.windows
    ]
    columns = ("BACKUP", "FROM", "TO", "FROM LSN", "TO LSN", "TIMELINE")
    return as_plain(Table(columns, rows, title="Restorable moments of PostgreSQL"))


def _stored(status: Status) -> str:
    rows = [(str(r.timeline), r.start, r.end, human_bytes(r.bytes)) for r in status.stored]
    return as_plain(Table(("TIMELINE", "FROM", "TO", "WAL"), rows, title="Received WAL"))


def _gaps(status: Status) -> Iterator[str]:
    if not status.gaps:
        return
    rows = [
        (
            str(one.timeline),
            one.start,
            one.end,
            human_bytes(one.bytes),
            "open" if one.open else "closed by a newer backup" if one.backups else "before any",
            ", ".join(one.backups),
        )
        for one in status.gaps
    ]
    columns = ("TIMELINE", "FROM", "TO", "WAL", "STATE", "BACKUPS THAT END THERE")
    yield as_plain(Table(columns, rows, title="Gaps"))
