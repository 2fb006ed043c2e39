"""``make audit``: known vulnerabilities, secrets in the tree, licences of what is installed.

Prints what it found and exits 1 for a secret or a licence outside the list. The vulnerability
database is asked where it is reachable; where it is not, that is said and not counted.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[1]

#: what can be shipped with an Apache-2.0 project; the copyleft ones are used as libraries only
ALLOWED = re.compile(
    r"Apache|MIT|BSD|ISC|Python|PSF|MPL|LGPL|Unlicense|Public Domain|CC0|0BSD|Zlib", re.IGNORECASE
)

#: packages whose metadata names no licence, with what their own LICENSE file says
READ = {"pyrage": "MIT"}

SECRETS = {
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "age identity": re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    "AWS access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "Vault token": re.compile(r"\bhvs\.[A-Za-z0-9_-]{20,}|\bs\.[A-Za-z0-9]{24}\b"),
}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True)
    return [TOP / name for name in listed.stdout.decode().split("\0") if name]


def secrets_in_tree() -> list[str]:
    """``path:line: kind`` for everything that looks like a secret, never the secret."""
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for kind, pattern in SECRETS.items():
                if pattern.search(line):
                    found.append(f"{path.relative_to(TOP)}:{number}: {kind}")
    return found


def licences() -> tuple[list[str], list[str]]:
    """Every package with its licence, and those whose licence is not in ``ALLOWED``."""
    beside = Path(sys.executable).parent
    done = subprocess.run(
        [str(beside / "pip-licenses"), "--format=json", "--from=mixed"],
        capture_output=True, check=True,
    )  # fmt: skip
    packages = json.loads(done.stdout)
    lines = [f"{p['Name']} {p['Version']}: {READ.get(p['Name'], p['License'])}" for p in packages]
    return lines, [line for line in lines if not ALLOWED.search(line.split(": ", 1)[1])]


def vulnerabilities() -> tuple[list[str], str]:
    """Known vulnerabilities of requirements.lock, and what could not be asked, in words."""
    beside = Path(sys.executable).parent
    done = subprocess.run(
        [
            str(beside / "pip-audit"), "--disable-pip", "--require-hashes", "--format=json",
            "--progress-spinner=off", "-r", str(TOP / "requirements.lock"),
        ],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return [], "not asked: the vulnerability database could not be reached"
    skipped = sum("skip_reason" in package for package in packages)
    known = [
        f"{p['name']} {p['version']}: {', '.join(v['id'] for v in p['vulns'])}"
        for p in packages
        if p.get("vulns")
    ]
    return known, f"{len(packages) - skipped} packages asked, {skipped} unknown to the database"


def main() -> int:
    say = sys.stdout.write
    found = secrets_in_tree()
    say(f"secrets: {len(found)} in {len(tracked())} files\n" + "".join(f"  {f}\n" for f in found))
    lines, foreign = licences()
    say(f"licences: {len(lines)} packages, {len(foreign)} outside the list\n")
    say("".join(f"  {line}\n" for line in foreign))
    known, asked = vulnerabilities()
    say(f"vulnerabilities: {len(known)} ({asked})\n" + "".join(f"  {line}\n" for line in known))
    return 1 if found or foreign or known else 0


if __name__ == "__main__":
    sys.exit(main())
