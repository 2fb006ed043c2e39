"""``lab env``: variables that point other programs at the lab."""

import shlex

from aeterna_cli.output.result import Result
from aeterna_cli.workflows.lab.up import here


def run() -> Result:
    """``eval "$(aeterna-cli lab env -o table)"`` in a shell. Holds file names, never a secret."""
    variables = here().environment()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return Result("aeterna.lab.env/1", variables, lambda: "\n".join(lines))
