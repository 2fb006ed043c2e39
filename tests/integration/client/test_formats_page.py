"""The page that tells applications how to honour a placement: every line of code in it runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.stores.base.placement import CHANNEL, REDIS_CHANNEL
from aeterna_cli.stores.base.placement_rows import GATE
from tests.integration.stores.placement_server import DEDICATED, PlacementServer, placement_server

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Placement: how an application honours it")[2].partition("\n## ")[0]
TENANT = "6f1d9f0e-3c1b-4d55-9a0e-2f3f6a1b7c11"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)


@pytest.fixture
def placing(tmp_path: Path) -> Iterator[PlacementServer]:
    with placement_server(tmp_path / "server") as made:
        made.server.execute("CREATE ROLE application LOGIN")
        yield made


def run(connection: Any, block: str) -> list[tuple[Any, ...]]:
    """Statement by statement; the rows of the last that has some."""
    connection.autocommit = True
    rows: list[tuple[Any, ...]] = []
    for statement in re.split(r";\s*$", block, flags=re.MULTILINE):
        if statement.strip():
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else rows
    return rows


def test_the_sql_of_the_page_runs_by_the_roles_that_it_names(placing: PlacementServer) -> None:
    import psycopg

    grants, move = blocks("sql owner")
    dual, reread = blocks("sql application")
    with placing.server.connect() as owner:
        run(owner, grants)
        application = psycopg.connect(
            host="127.0.0.1", port=placing.server.port, dbname="postgres", user="application"
        )
        with application:
            run(application, dual)
            alive = run(owner, move)
            assert alive == [("web-7/5e1c", 1, True)]
            assert run(application, reread)[0][-2:] == ("dual", 4)
            assert run(application, dual)[0][-2:] == ("dual", 4)
    found = placing.store.placement(TENANT)
    assert found is not None
    assert (found.epoch, found.primary.shard, found.state) == (4, "dedicated-1", "dual")


def test_the_page_names_what_the_code_names(placing: PlacementServer) -> None:
    assert f"`NOTIFY {CHANNEL}`" in SECTION
    assert f"`{REDIS_CHANNEL}`" in SECTION
    for table in ("shard", "tenant_placement", "placement_ack"):
        with placing.server.connect() as connection:
            query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
            for (column,) in connection.execute(query, (f"aeterna_ops.{table}",)):
                assert f"`{column}`" in SECTION or column == "created_at", (table, column)
    text = GATE.format(tenant="'x'")
    assert "aeterna_ops.tenant_placement '" in text
    with placing.server.connect() as connection:
        ours = connection.execute(f"SELECT {GATE.format(tenant='%s')}", (TENANT,)).fetchone()
        theirs = re.findall(r"hashtextextended\(\s*'.+?', 0\)", SECTION, re.DOTALL)
        assert len(theirs) == 2
        for text in theirs:
            assert connection.execute(f"SELECT {text}").fetchone() == ours


def test_the_python_of_the_page_runs(placing: PlacementServer) -> None:
    asked: list[tuple[str, str, Any]] = []
    (example,) = blocks("python application")

    def follow() -> None:
        exec(  # noqa: S102  # our own page
            compile(example, "docs/formats.md", "exec"),
            {
                "conninfo": placing.application, "tenant": TENANT,
                "point": {"id": 1, "vector": [1.0], "payload": {"version": 7}},
                "qdrant": lambda *words: asked.append(words),
            },
        )  # fmt: skip

    follow()
    first = placing.placed(TENANT)
    placing.changed(first, state="dual", secondary=DEDICATED)
    follow()
    assert [path for _method, path, _body in asked] == [
        "/collections/memories-shared/points?wait=true",
        "/collections/memories-shared/points?wait=true",
        "/collections/memories-large/points/batch?wait=true",
    ]
    assert asked[2][2]["operations"][0]["upsert"]["shard_key"] == {
        "target": "large", "fallback": "default",
    }  # fmt: skip
