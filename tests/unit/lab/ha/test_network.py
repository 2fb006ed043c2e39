"""The lab's network as its own process, with real sockets and real clients of other processes."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.errors import TransientError, UsageError
from tests.unit.lab.ha.network_lab import NetworkLab, client_of, until

QUIET = 0.3  # seconds in which nothing may arrive


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[NetworkLab]:
    made = NetworkLab(tmp_path)
    made.start()
    try:
        yield made
        code, said = made.end() if made.process else (0, b"")
        assert (code, said) == (0, b"")
    finally:
        if made.process:
            made.end(signal.SIGKILL)
        for echo in made.echoes.values():
            echo.close()


def exactly(end: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := end.recv(count - len(data))):
        data += more
    return bytes(data)


def everything(end: socket.socket) -> bytes:
    data = bytearray()
    while more := end.recv(1 << 16):
        data += more
    return bytes(data)


def quiet(end: socket.socket) -> bool:
    return not select.select([end], [], [], QUIET)[0]


def said(end: socket.socket, text: bytes) -> bool:
    end.sendall(text)
    return exactly(end, len(text)) == text


def test_bytes_and_the_end_of_one_half_are_passed_on(lab: NetworkLab) -> None:
    text = os.urandom(3_000_000)
    with lab.connect("a") as end:
        sender = threading.Thread(target=lambda: (end.sendall(text), end.shutdown(1)))
        sender.start()
        assert everything(end) == text + b"end 3000000"
        sender.join()


def test_nobody_behind_a_port_is_a_reset(lab: NetworkLab) -> None:
    lab.echoes["a"].close()
    with lab.connect("a") as end, pytest.raises(ConnectionResetError):
        end.recv(1)


def test_a_cut_hangs_and_loses_nothing(lab: NetworkLab) -> None:
    text = os.urandom(20_000_000)  # more than all buffers hold
    with lab.connect("a") as end, lab.connect("b") as other:
        assert said(end, b"before")
        received = bytearray()
        sender = threading.Thread(target=lambda: (end.sendall(text), end.shutdown(1)))
        sender.start()
        received += exactly(end, 1_000_000)
        cut = lab.inject(kind="cut", node="a")
        forwarded = lab.forwarded("a")
        while not quiet(end):  # what the kernel had before the cut arrives, then nothing more
            received += end.recv(1 << 20)
        assert lab.forwarded("a") == forwarded
        assert len(received) < len(text)
        assert said(other, b"the other node is reached")
        assert lab.ask(do="heal", id=cut) == {"healed": [cut]}
        received += everything(end)
        assert received == text + b"end %d" % (len(text) + len(b"before"))
        sender.join()


def test_a_new_connection_into_a_cut_waits_for_its_end(lab: NetworkLab) -> None:
    lab.inject(kind="cut", node="a")
    with lab.connect("a") as end:
        end.sendall(b"hello")
        assert quiet(end)
        assert lab.echoes["a"].accepted == 0
        lab.ask(do="heal-all")
        assert exactly(end, 5) == b"hello"


def test_a_client_that_gave_up_in_a_cut_is_never_heard(lab: NetworkLab) -> None:
    lab.inject(kind="cut", node="a")
    with lab.connect("a") as end:
        end.sendall(b"do something")
    until(lambda: lab.ask(do="status")["connections"] == [])
    lab.ask(do="heal-all")
    with lab.connect("a") as end:
        assert said(end, b"hello")
    assert lab.echoes["a"].accepted == 1


def test_a_cut_may_reset_open_and_new_connections(lab: NetworkLab) -> None:
    with lab.connect("a") as end, lab.connect("b") as other:
        assert said(end, b"before")
        assert said(other, b"before")
        lab.inject(kind="cut", node="a", how="reset")
        with pytest.raises(ConnectionResetError):
            end.recv(1)
        with lab.connect("a") as new, pytest.raises(ConnectionResetError):
            new.recv(1)
        assert said(other, b"after")


def test_a_slow_network_keeps_to_its_delay_and_rate(lab: NetworkLab) -> None:
    with lab.connect("a") as end:
        assert said(end, b"x")
        delay = lab.inject(kind="slow", node="a", delay_ms=100)
        began = time.monotonic()
        assert said(end, b"x")
        assert 0.2 <= time.monotonic() - began < 1  # there and back
        lab.ask(do="heal", id=delay)
        lab.inject(kind="slow", node="a", bytes_per_second=400_000)
        began = time.monotonic()
        sender = threading.Thread(target=end.sendall, args=(bytes(200_000),))
        sender.start()
        exactly(end, 200_000)  # both directions share the line
        assert 0.8 <= time.monotonic() - began < 2.5
        sender.join()


def test_healing_a_slow_network_does_not_wait_for_it(lab: NetworkLab) -> None:
    with lab.connect("a") as end:
        lab.inject(kind="slow", node="a", delay_ms=60_000)
        end.sendall(b"x")
        assert quiet(end)
        lab.ask(do="heal-all")
        assert end.recv(1) == b"x"


def test_downloads_and_uploads_are_cut_short(lab: NetworkLab) -> None:
    lab.inject(kind="truncate", node="a", download=1000)
    with lab.connect("a") as end:
        end.sendall(bytes(5000))
        with contextlib.suppress(ConnectionResetError):
            assert everything(end) == bytes(1000)
    lab.ask(do="heal-all")
    lab.inject(kind="truncate", node="a", upload=1000)
    with lab.connect("a") as end:
        end.sendall(bytes(5000))
        with contextlib.suppress(ConnectionResetError):
            assert len(everything(end)) <= 1000 + len(b"end 1000")


@pytest.mark.parametrize("opened", ["before", "after"])
def test_requests_are_answered_with_slow_down(lab: NetworkLab, opened: str) -> None:
    early = lab.connect("a")
    assert said(early, b"before")
    lab.inject(kind="refuse", node="a")
    accepted = lab.echoes["a"].accepted
    with early, lab.connect("a") as late:
        end = early if opened == "before" else late
        end.sendall(b"GET / HTTP/1.1\r\nHost: s3\r\n\r\n")
        answer = everything(end)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"<Code>SlowDown</Code>" in body
    assert lab.echoes["a"].accepted == accepted


def tell(child: "subprocess.Popen[str]", line: str) -> bool:
    """Whether the line came back before long."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()
    return bool(select.select([child.stdout], [], [], 1.0)[0]) and (
        child.stdout.readline() == line + "\n"
    )


def test_the_client_of_a_connection_is_known_by_its_process(lab: NetworkLab) -> None:
    with (
        client_of(lab, "a", "b") as of_a,
        client_of(lab, "b", "b") as of_b,
        client_of(lab, None, "b") as outside,
    ):
        for child in (of_a, of_b, outside):
            assert until(lambda child=child: tell(child, "before"))
        lab.inject(kind="partition", groups=[["a"], ["b"]])
        assert not tell(of_a, "cut")
        assert tell(of_b, "a node reaches itself")
        assert tell(outside, "in no group")
        sources = {row["source"] for row in lab.ask(do="status")["connections"]}
        assert sources == {"a", "b", "outside"}
        lab.ask(do="heal-all")
        lab.inject(kind="cut-outside", node="b")
        assert not tell(outside, "cut")
        assert of_a.stdout is not None
        assert of_a.stdout.readline() == "cut\n"  # from before, late but there
        assert tell(of_a, "inside")


def test_a_restart_keeps_the_rules(lab: NetworkLab) -> None:
    cut = lab.inject(kind="cut", node="a")
    lab.end(signal.SIGKILL)
    lab.start()
    assert lab.ask(do="status")["rules"] == {cut: {"kind": "cut", "node": "a", "how": "hang"}}
    with lab.connect("a") as end:
        end.sendall(b"hello")
        assert quiet(end)
        lab.ask(do="heal-all")
        assert exactly(end, 5) == b"hello"


@pytest.mark.parametrize(
    "hostile",
    [
        b"\n",
        b"[" * 60_000 + b"\n",
        b"x" * 200_000 + b"\n",
        b"\xff\xfe\n",
        b'{"do": ["inject"]}\n',
        b'{"do": "heal", "id": {"a": 1}}\n',
        b'{"do": "inject", "rule": {"kind": "cut", "node": "../../etc"}}\n',
        b"null\n",
        b"half a line",
    ],
)
def test_a_hostile_request_changes_nothing(lab: NetworkLab, hostile: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(10)
        door.connect(str(lab.control))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            door.sendall(hostile)
            door.shutdown(socket.SHUT_WR)
            answer = everything(door)
            assert not answer or b'"error"' in answer
    assert lab.ask(do="status")["rules"] == {}


def test_the_door_is_ours_alone_and_says_what_is_wrong(lab: NetworkLab) -> None:
    assert lab.control.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="node is one of a, b"):
        lab.inject(kind="cut", node="c")
    lab.end()
    with pytest.raises(TransientError) as caught:
        lab.ask(do="status")
    assert caught.value.code == "network_away"


def test_a_port_that_is_taken_is_said_and_ends_it(lab: NetworkLab) -> None:
    words = [sys.executable, "-m", "aeterna_cli.lab.ha.network", str(lab.path)]
    second = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert second.stderr == f"lab_port_taken: port {lab.ports['a']} of the lab's network is taken\n"
    assert lab.ask(do="status")["rules"] == {}  # the first one goes on


def test_many_connections_in_a_cut_cost_little_and_all_go_on(lab: NetworkLab) -> None:
    with contextlib.ExitStack() as opened:
        ends = [opened.enter_context(lab.connect("a")) for _ in range(300)]
        for end in ends:
            assert said(end, b"before")
        lab.inject(kind="cut", node="a")
        for end in ends:
            end.sendall(b"hello")
        rows = [{"source": "outside", "server": "a", "count": 300, "bytes": 300 * 12}]
        until(lambda: lab.ask(do="status")["connections"] == rows)
        before, began = lab.cpu(), time.monotonic()
        until(lambda: time.monotonic() - began > 1)
        assert lab.cpu() - before < 0.3  # a look a second, not one after the other
        lab.ask(do="heal-all")
        for end in ends:
            assert exactly(end, 5) == b"hello"
