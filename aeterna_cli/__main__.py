"""``python -m aeterna_cli``."""

from aeterna_cli.main import cli

cli()
