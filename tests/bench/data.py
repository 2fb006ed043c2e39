"""Data of a known size that compresses like a database does: zstd -1 ratio between 2 and 3.

Rows of about 1 KB, half of it random, made inside the server; the ratio that was reached is
measured, printed and checked, because every figure that rests on it would otherwise be worth
nothing.
"""

import subprocess
from pathlib import Path
from typing import Any

STEP = 200_000  # rows at a time
# n > 0: without the row's own n the server would compute one body and repeat it
FILL = """
INSERT INTO bench.rows (id, tenant, body)
SELECT n, 'tenant-' || n %% 97,
       (SELECT string_agg(md5(random()::text || g) || ' remembers', ' ')
          FROM generate_series(1, 22) AS g WHERE n > 0)
  FROM generate_series(%s::bigint, %s::bigint) AS n
"""


def fill(connection: Any, size: int) -> int:
    """Fill ``bench.rows`` until it has ``size`` bytes on disk; how many rows it has then."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
    connection.execute(
        "CREATE UNLOGGED TABLE IF NOT EXISTS bench.rows (id bigint, tenant text, body text)"
    )
    connection.execute("SELECT setseed(0.42)")
    rows = 0
    while _size(connection) < size:
        connection.execute(FILL, (rows + 1, rows + STEP))
        rows += STEP
    connection.execute("ALTER TABLE bench.rows SET LOGGED")
    connection.execute("CHECKPOINT")
    return rows


def _size(connection: Any) -> int:
    row = connection.execute("SELECT pg_total_relation_size('bench.rows')").fetchone()
    return int(row[0])


def checked_ratio(tar: Path) -> float:
    """How much smaller ``zstd -1`` makes a file; ``RuntimeError`` outside 2-3."""
    packed = tar.with_suffix(".zst")
    subprocess.run(["zstd", "-1", "-q", "-f", str(tar), "-o", str(packed)], check=True)
    found = tar.stat().st_size / packed.stat().st_size
    packed.unlink()
    if not 2 <= found <= 3:
        raise RuntimeError(f"the data compress {found:.2f} to 1, not 2 to 3 to 1")
    return found
