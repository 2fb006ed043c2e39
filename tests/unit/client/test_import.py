"""What an application pays for importing the client: nothing of the command line, no driver yet."""

import subprocess
import sys

HEAVY = ("psycopg", "redis", "httpx", "qdrant_client", "pydantic", "typer", "rich", "boto3",
         "aeterna_cli.settings", "aeterna_cli.errors", "aeterna_cli.commands")  # fmt: skip


def test_the_import_is_light() -> None:
    code = (
        "import sys, aeterna_cli.client, aeterna_cli.client.requests\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
