"""What interrupts the sealing of a volume: nothing incomplete stays, and the cause is named."""

import os
import random
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from aeterna_cli.errors import ConflictError, FailedError, RemoteError, TransientError, UsageError
from aeterna_cli.keys.slots import create_identity
from aeterna_cli.repository import age_process, layout
from aeterna_cli.repository.age_pipe import AgeProcess
from aeterna_cli.repository.opening import open_volume
from aeterna_cli.repository.pipeline import SealedWriter
from aeterna_cli.stores.base.objects import ObjectInfo, ObjectWriter
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.unit.repository.given import PREFIX, Person, sealed

NOISE = random.Random(11).randbytes(1 << 20)  # noqa: S311 - the same in every run


def files(store: DirectoryStore) -> list[Path]:
    return [path for path in Path(store.description).rglob("*") if path.is_file()]


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def writer(
    store: DirectoryStore, person: Person, limit: int = 300_000, prefix: str = PREFIX
) -> SealedWriter:
    return SealedWriter(store, prefix, [person.recipient], part_bytes_limit=limit)


def attempt(target: SealedWriter, act: Callable[[SealedWriter], object]) -> None:
    with target:
        act(target)


def much(target: SealedWriter) -> None:
    for _ in range(30):
        target.write(NOISE)


def all_of_it(target: SealedWriter) -> None:
    much(target)
    target.commit()


def one_part(store: DirectoryStore, then: Callable[[], object]) -> Callable[[SealedWriter], None]:
    """Write until a part is really stored."""

    def act(target: SealedWriter) -> None:
        before = len(list(store.list("")))
        for _ in range(200):
            target.write(NOISE)
            if len(list(store.list(""))) > before:
                break
        else:
            pytest.fail("no part was ever stored")
        then()

    return act


def broken() -> None:
    raise ZeroDivisionError


class Fragile(DirectoryStore):
    """A store whose writes, commits or deletions fail after ``left`` objects."""

    left = 1
    where = "write"
    deletions_fail = False

    @contextmanager
    def writer(self, key: str) -> Iterator[ObjectWriter]:
        with super().writer(key) as target:
            self.left -= 1
            yield _Fragile(target, self.where if self.left < 0 else "")

    def delete(self, keys: Any) -> int:
        if self.deletions_fail:
            raise TransientError("gone", "the repository went away again")
        return super().delete(keys)


class _Fragile:
    def __init__(self, target: ObjectWriter, fails: str) -> None:
        self._target, self._fails = target, fails

    def write(self, data: bytes | memoryview, /) -> int:
        if self._fails == "write":
            raise TransientError("gone", "the repository went away")
        return self._target.write(data)

    def commit(self) -> ObjectInfo:
        info = self._target.commit()
        if self._fails == "commit":  # it happened, but nobody heard of it
            raise TransientError("gone", "the repository went away")
        return info


def fragile(store: DirectoryStore, where: str, left: int) -> Fragile:
    found = Fragile(Path(store.description))
    found.where, found.left = where, left
    return found


def test_leaving_without_commit_leaves_nothing(store: DirectoryStore, person: Person) -> None:
    attempt(writer(store, person), one_part(store, lambda: None))
    assert files(store) == []


def test_an_error_in_the_block_leaves_nothing(store: DirectoryStore, person: Person) -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(writer(store, person), one_part(store, broken))
    assert files(store) == []


@pytest.mark.parametrize("where", ["write", "commit"])
@pytest.mark.parametrize("left", [0, 1])
def test_a_failing_store_is_reported_and_leaves_nothing(
    store: DirectoryStore, person: Person, where: str, left: int
) -> None:
    with pytest.raises(TransientError) as failed:
        attempt(writer(fragile(store, where, left), person), all_of_it)
    assert failed.value.code == "gone"
    assert files(store) == []


def test_a_last_commit_with_a_lost_answer_leaves_nothing(
    store: DirectoryStore, person: Person
) -> None:
    with pytest.raises(TransientError):
        attempt(writer(fragile(store, "commit", 0), person), SealedWriter.commit)
    assert files(store) == []


def test_parts_that_cannot_be_removed_are_told(store: DirectoryStore, person: Person) -> None:
    stuck = fragile(store, "", 0)
    stuck.deletions_fail = True
    with pytest.raises(FailedError) as failed:
        attempt(writer(stuck, person), one_part(store, lambda: None))
    assert failed.value.code == "parts_left"
    with pytest.raises(ZeroDivisionError) as other:
        attempt(writer(stuck, person, prefix=PREFIX + "2"), one_part(store, broken))
    assert "may be left below" in "".join(other.value.__notes__)


def test_a_taken_key_is_never_removed(store: DirectoryStore, person: Person) -> None:
    key = layout.part_key(PREFIX, 1)
    store.create(key, b"somebody else's")
    with pytest.raises(ConflictError) as failed:
        attempt(writer(store, person), all_of_it)
    assert failed.value.code == "object_exists"
    assert [item.key for item in store.list("")] == [key]
    assert store.read(key) == b"somebody else's"


def test_a_full_disk_is_named(store: DirectoryStore, person: Person) -> None:
    """A real write that the kernel refuses: the limit on the size of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(RemoteError) as failed:
            attempt(writer(store, person, limit=1 << 30), all_of_it)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert failed.value.code == "disk_full"
    assert files(store) == []


def child_of(target: SealedWriter) -> int:
    return target._age.pid


def opener_of(stream: BinaryIO) -> int:
    pid: int = stream.raw._source._age.pid  # type: ignore[attr-defined]  # what lies below
    return pid


def test_a_killed_age_process_is_an_error(store: DirectoryStore, person: Person) -> None:
    target = writer(store, person)

    def killed() -> None:
        os.kill(child_of(target), signal.SIGKILL)
        much(target)

    with pytest.raises(FailedError) as failed:
        attempt(target, one_part(store, killed))
    assert failed.value.code == "age_process_died"
    assert "SIGKILL" in failed.value.message
    assert files(store) == []


def test_a_process_that_dies_at_the_end_commits_nothing(
    store: DirectoryStore, person: Person
) -> None:
    """What came out of it so far looks like an ordinary end of the stream."""

    def act(target: SealedWriter) -> None:
        os.kill(child_of(target), signal.SIGKILL)
        target._upload.result(timeout=30)
        target.commit()

    with pytest.raises(FailedError) as failed:
        attempt(writer(store, person), act)
    assert failed.value.code == "age_process_died"
    assert files(store) == []


def test_a_killed_process_while_opening(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE * 8, limit=1 << 30)

    def read() -> None:
        with open_volume(store, record, person.identity) as stream:
            stream.read(10)
            os.kill(opener_of(stream), signal.SIGKILL)
            stream.read()

    with pytest.raises(FailedError) as failed:
        read()
    assert failed.value.code == "age_process_died"


def test_nothing_runs_afterwards(store: DirectoryStore, person: Person) -> None:
    before = threading.active_count(), descriptors()
    with writer(store, person) as target:
        pid = child_of(target)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    record = sealed(store, person, NOISE)
    with open_volume(store, record, person.identity) as stream:
        pid = opener_of(stream)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (threading.active_count(), descriptors()) == before


def test_wrong_arguments_contact_nothing(store: DirectoryStore, person: Person) -> None:
    for recipients in ([], ["age1nonsense"], [person.identity], [person.recipient, ""]):
        with pytest.raises(UsageError) as refused:
            SealedWriter(store, PREFIX, recipients, part_bytes_limit=1 << 20)
        assert refused.value.code == "recipient_invalid"
        assert person.identity not in str(refused.value.as_document())
    with pytest.raises(ValueError, match="at least one byte"):
        SealedWriter(store, PREFIX, [person.recipient], part_bytes_limit=0)
    with pytest.raises(ValueError, match="not a prefix"):
        SealedWriter(store, "../x", [person.recipient], part_bytes_limit=1)
    assert files(store) == []


def test_the_identity_is_on_no_command_line(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE)
    secret = person.identity.encode("ascii")
    with open_volume(store, record, person.identity) as stream:
        place = Path("/proc", str(opener_of(stream)))
        assert secret not in (place / "cmdline").read_bytes()
        assert secret not in (place / "environ").read_bytes()
        assert b"age_process" in (place / "cmdline").read_bytes()


def test_our_secrets_do_not_reach_the_child(
    monkeypatch: pytest.MonkeyPatch, store: DirectoryStore, person: Person
) -> None:
    monkeypatch.setenv("AETERNA_KEYS__TOKEN", "hvs.secret")
    with writer(store, person) as target:
        environment = Path("/proc", str(child_of(target)), "environ").read_bytes()
    assert b"hvs.secret" not in environment


def test_a_child_that_cannot_start_is_an_error(
    monkeypatch: pytest.MonkeyPatch, store: DirectoryStore, person: Person
) -> None:
    before = descriptors()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    for start in (
        lambda: writer(store, person).__enter__(),
        lambda: AgeProcess.decrypting(person.identity),
    ):
        with pytest.raises(FailedError) as failed:
            start()
        assert failed.value.code == "age_process_start"
    assert descriptors() == before


def test_a_recipient_that_only_the_child_refuses(store: DirectoryStore, person: Person) -> None:
    """Whatever makes the child give up, the volume is not committed."""
    for act in (much, SealedWriter.commit):
        target = writer(store, person)
        target._recipients = ("age1nonsense",)
        with pytest.raises(FailedError) as failed:
            attempt(target, act)
        assert failed.value.code == "encryption_failed"
    assert files(store) == []


class TestChild:
    """The child's own code, run here with pipes in place of its stdin and stdout."""

    @staticmethod
    def run(arguments: list[str], given: bytes, *, deaf: bool = False) -> tuple[int, bytes]:
        saved = os.dup(0), os.dup(1)
        to_child, from_child = os.pipe(), os.pipe()
        os.write(to_child[1], given)
        os.close(to_child[1])
        if deaf:
            os.close(from_child[0])
        os.dup2(to_child[0], 0)
        os.dup2(from_child[1], 1)
        os.close(to_child[0])
        os.close(from_child[1])
        try:
            code = age_process.main(arguments)
        finally:
            for number, copy in enumerate(saved):
                os.dup2(copy, number)
                os.close(copy)
        if deaf:
            return code, b""
        with os.fdopen(from_child[0], "rb") as answer:
            return code, answer.read()

    @staticmethod
    def handed_over(secret: str) -> str:
        reading, writing = os.pipe()
        os.write(writing, secret.encode("ascii"))
        os.close(writing)
        return str(reading)

    def test_there_and_back(self, person: Person) -> None:
        code, stored = self.run(["encrypt", person.recipient], b"text")
        assert code == age_process.DONE
        back = self.run(["decrypt", self.handed_over(person.identity)], stored)
        assert back == (age_process.DONE, b"text")

    def test_refusals(self, person: Person, capsys: pytest.CaptureFixture[str]) -> None:
        _code, stored = self.run(["encrypt", person.recipient], b"text")
        stranger, _recipient = create_identity()
        for arguments, given in [
            (["encrypt", "age1nonsense"], b""),
            (["decrypt", self.handed_over(stranger)], stored),
            (["decrypt", self.handed_over("AGE-NONSENSE")], stored),
            (["decrypt", self.handed_over(person.identity)], stored[:-1]),
        ]:
            assert self.run(arguments, given) == (age_process.REFUSED, b"")
        assert "NONSENSE" not in capsys.readouterr().err.upper()

    def test_a_last_write_that_fails_is_not_done(self, person: Person) -> None:
        """pyrage keeps silent about it: without our own look the stream would end short."""
        code, _nothing = self.run(["encrypt", person.recipient], b"text", deaf=True)
        assert code == age_process.PIPE

    def test_it_imports_next_to_nothing(self) -> None:
        import subprocess
        import sys

        probe = "import sys, aeterna_cli.repository.age_process; print(*sys.modules)"
        loaded = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, check=True
        ).stdout.split()
        assert not {"pydantic", "zstandard", "cryptography", "subprocess"} & set(loaded)
