"""``operation show``: every record of one operation, its hash chain checked."""

from aeterna_cli.context import Context
from aeterna_cli.operations.journal import Journal, Record, state_of
from aeterna_cli.output.documents import dumps
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table


def run(ctx: Context, operation: str) -> Result:
    """``RefusedError("operation_unknown")``; ``RemoteError("journal_damaged")`` names a record."""
    journal = Journal(ctx.deployment.objects, ctx.state_directory, operation, clock=ctx.clock)
    journal.load()
    data = {
        "operation": operation,
        "state": state_of(journal.records),
        "records": journal.records,
    }
    return Result("aeterna.operation.show/1", data, lambda: _view(operation, journal.records))


def _view(operation: str, records: list[Record]) -> Table:
    first = records[0].data
    rows = [
        [
            str(record.sequence),
            record.time.isoformat(timespec="milliseconds"),
            record.kind,
            _words(record),
        ]
        for record in records
    ]
    lines = [f"state: {state_of(records)}; the hash chain is whole"]
    if first.get("reason"):
        lines.append(f"reason: {first['reason']}")
    return Table(
        ["record", "time", "kind", "what"],
        rows,
        title=f"{operation}: {first['plan']['summary']} by {first['actor']}",
        right=frozenset({"record"}),
        footer="\n".join(lines),
    )


def _words(record: Record) -> str:
    if record.kind == "started":
        return f"plan {record.data['fingerprint'][:12]}"
    words = [str(record.data[name]) for name in ("step", "code", "message") if name in record.data]
    if record.kind == "result":
        text = dumps(record.data.get("result"))
        words.append(text if len(text) <= 100 else f"{text[:97]}...")
    return " ".join(words)
