"""The benchmark of ``tenant classify``, tiny: that it still runs, and counts what it wrote."""

import re
from collections import Counter

import pytest

from tests.bench import classify

pytestmark = pytest.mark.integration


def test_requests_do_not_grow_with_the_tenants() -> None:
    few, many = ("\n".join(classify.run(600, number, 1)) for number in (20, 60))
    assert "20 tenants, 600 points" in few
    assert "60 tenants, 600 points" in many
    asked = [re.search(r"Qdrant (\d+), PostgreSQL (\d+) statements", one) for one in (few, many)]
    assert asked[0] is not None
    assert asked[1] is not None
    assert asked[0].groups() == asked[1].groups()
    assert all(0 < int(number) < 20 for number in asked[0].groups())


def test_a_wrong_count_is_an_error() -> None:
    data = {"tenants": [{"id": "a", "counts": {"memory_points": 2}}]}
    classify._check(data, Counter(a=2))
    with pytest.raises(RuntimeError, match="not what was written"):
        classify._check(data, Counter(a=3))
