"""Run a program that refuses to be root, without making a user.

PostgreSQL will not start as uid 0. In a user namespace that maps us to ``nobody`` the program sees
another uid while every file stays ours; ``unshare`` execs, so the child's pid is the program's.
Where namespaces are refused (some containers) ``setpriv`` really drops to ``nobody``; the data
directory must then belong to it. It is a convenience, not a security border.
Source: util-linux unshare(1), setpriv(1); initdb looks the effective uid up in passwd.
"""

import functools
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from aeterna_cli.stores import helpers

Mode = Literal["as-is", "user-namespace", "setpriv"]


def _nobody() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


@functools.cache
def mode() -> Mode:
    """How programs are started here; probed once per process."""
    if os.geteuid() != 0:
        return "as-is"
    uid, gid = _nobody()
    probe = ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--", "id", "-u"]
    try:
        answer = helpers.run(probe, timeout=5)
    except OSError:
        return "setpriv"
    return "user-namespace" if answer.stdout.strip() == str(uid) else "setpriv"


def wrap(command: Sequence[str | Path]) -> list[str]:
    """The command as it must be started so that it does not run as root."""
    words = [str(word) for word in command]
    if mode() == "as-is":
        return words
    uid, gid = _nobody()
    if mode() == "user-namespace":
        return ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--", *words]
    search = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"
    drop = f"--reuid={uid}", f"--regid={gid}", "--clear-groups"
    return ["setpriv", *drop, *search, "--", *words]


def wrap_node(command: Sequence[str | Path]) -> list[str]:
    """As ``wrap``, for a program that starts others: where user namespaces are to be had all of
    them are one process namespace, and SIGKILL of the process that is started ends them together.
    """
    if mode() != "user-namespace":
        return wrap(command)
    uid, gid = _nobody()
    space = "--pid", "--fork", "--kill-child", "--mount-proc"
    words = [str(word) for word in command]
    return ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", *space, "--", *words]


def own(directory: Path) -> None:
    """Give a tree to the uid that ``wrap`` runs as; only ``setpriv`` needs it."""
    if mode() != "setpriv":
        return
    uid, gid = _nobody()
    for root, folders, files in os.walk(directory):
        for name in (".", *folders, *files):
            os.chown(Path(root, name), uid, gid, follow_symlinks=False)
    shutil.chown(directory, uid, gid)
