"""Whether an answer is the one that was wanted."""

from typing import Any

import pytest

from aeterna_cli.workflows.dr_drill.scenario import Tolerance
from aeterna_cli.workflows.dr_drill.tolerance import judge


@pytest.mark.parametrize(
    ("tolerance", "value", "held"),
    [
        ({"equals": 1}, 1, True),
        ({"equals": 1}, 1.0, True),
        ({"equals": 1}, "1", False),
        ({"equals": 1}, True, False),
        ({"equals": True}, True, True),
        ({"equals": True}, 1, False),
        ({"equals": None}, None, True),
        ({"equals": None}, 0, False),
        ({"equals": [1, 2]}, [1, 2], True),
        ({"one_of": ["a", "b"]}, "b", True),
        ({"one_of": []}, "b", False),
        ({"range": [1, 2]}, 2, True),
        ({"range": [1, 2]}, 2.1, False),
        ({"range": [None, 2]}, -9, True),
        ({"range": [1, None]}, float("nan"), False),
        ({"range": [0, 1]}, True, False),
        ({"range": [0, 1]}, "1", False),
        ({"regex": "^ok"}, "ok then", True),
        ({"regex": "^ok"}, "not ok", False),
        ({"regex": '"a": 1'}, {"a": 1}, True),
        ({"at": "status", "equals": 200}, {"status": 200}, True),
        ({"at": "body.peers[1].state", "equals": "Active"},
         {"body": {"peers": [{}, {"state": "Active"}]}}, True),
        ({"at": "$.a", "equals": 1}, {"a": 1}, True),
        ({"at": "a.b", "equals": None}, {"a": {}}, False),
        ({"at": "a[7]", "equals": None}, {"a": [1]}, False),
        ({"at": "a..b", "equals": 1}, {"a": {"b": 1}}, False),
    ],
)  # fmt: skip
def test_judge(tolerance: dict[str, Any], value: Any, held: bool) -> None:
    assert judge(Tolerance.model_validate(tolerance), value).held is held
