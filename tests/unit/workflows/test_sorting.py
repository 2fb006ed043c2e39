"""External sorting."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.workflows.sorting import sorted_lines

LINES = st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=4))


@given(LINES, st.integers(1, 5))
def test_lines_come_back_sorted_by_bytes(lines: list[str], run: int) -> None:
    with TemporaryDirectory() as folder:
        work = Path(folder)
        assert list(sorted_lines(lines, work, run=run)) == sorted(lines, key=str.encode)
        assert list(work.iterdir()) == []
