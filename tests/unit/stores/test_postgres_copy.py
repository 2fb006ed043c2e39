"""Digests of COPY text: the same however it is cut, another for every change."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import RemoteError
from aeterna_cli.stores.postgres_copy import LineDigest

lines = st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\n", b"")), max_size=8)


def digest(data: bytes, *cuts: int) -> tuple[int, str]:
    found, places = LineDigest(), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        found.feed(data[start:end])
    return found.rows, found.result()


@given(lines, st.lists(st.integers(0, 1000), max_size=5))
def test_neither_the_cuts_nor_the_order_matter(rows: list[bytes], cuts: list[int]) -> None:
    data = b"".join(row + b"\n" for row in rows)
    turned = b"".join(row + b"\n" for row in reversed(rows))
    assert digest(data, *cuts) == digest(turned) == (len(rows), digest(data)[1])


@given(lines, st.binary(max_size=5))
def test_a_changed_row_changes_it(rows: list[bytes], other: bytes) -> None:
    other = other.replace(b"\n", b"") + b"!"
    data = b"".join(row + b"\n" for row in rows)
    assert digest(data + b"\n") != digest(data + other + b"\n")


def test_half_a_row_is_told() -> None:
    found = LineDigest()
    found.feed(b"whole\nhal")
    with pytest.raises(RemoteError) as caught:
        found.result()
    assert caught.value.code == "copy_damaged"
