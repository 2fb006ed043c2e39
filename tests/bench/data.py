"""Data of a known size that compresses like a database does: zstd -1 ratio between 2 and 3.

Rows of words and numbers, made inside the server; the ratio that was reached is measured, printed
and checked, because every ratio that rests on it would be worth nothing otherwise.
"""

import subprocess
from pathlib import Path
from typing import Any

ROW = 200  # about this many bytes a row on disk

FILL = """
INSERT INTO bench.rows (id, tenant, body)
SELECT n, 'tenant-' || n % 97,
       (SELECT string_agg(CASE WHEN random() < 0.55
                               THEN (ARRAY['memory','tenant','agent','recall','vector','policy',
                                           'layer','project','prefers','decided']
                                    )[1 + (random() * 9)::int]
                               ELSE substr(md5(random()::text), 1, 9) END, ' ')
          FROM generate_series(1, 18) WHERE n IS NOT NULL)
  FROM generate_series(%s::bigint, %s::bigint) AS n
"""


def fill(connection: Any, size: int) -> int:
    """Fill ``bench.rows`` until the database holds ``size`` bytes more; the rows there are then."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    connection.execute(
        "CREATE UNLOGGED TABLE IF NOT EXISTS bench.rows (id bigint, tenant text, body text)"
    )
    connection.execute("SELECT setseed(0.42)")
    rows, step = 0, 200_000
    while _size(connection) < size:
        connection.execute(FILL, (rows + 1, rows + step))
        rows += step
    connection.execute("ALTER TABLE bench.rows SET LOGGED")
    connection.execute("CHECKPOINT")
    return rows


def _size(connection: Any) -> int:
    row = connection.execute("SELECT pg_total_relation_size('bench.rows')").fetchone()
    return int(row[0])


def ratio(tar: Path) -> float:
    """How much smaller ``zstd -1`` makes a file."""
    packed = subprocess.run(["zstd", "-1", "-c", "-q", str(tar)], check=True, capture_output=True)
    return tar.stat().st_size / len(packed.stdout)


def checked_ratio(tar: Path) -> float:
    """The ratio; ``RuntimeError`` outside 2-3, where our figures would mean nothing."""
    found = ratio(tar)
    if not 2 <= found <= 3:
        raise RuntimeError(f"the data compress {found:.2f} to 1, not 2 to 3 to 1")
    return found
