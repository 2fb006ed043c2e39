"""JSON as it travels: vectors are 32-bit floats and printed in their shortest form."""

from typing import Any

import numpy as np  # noqa: TID253 - only the lab's server process imports this package
import orjson  # noqa: TID253 - only the lab's server process imports this package


def dumps(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def loads(text: bytes) -> Any:
    """``ValueError`` for anything that is not JSON (not-a-number and infinity are not)."""
    return orjson.loads(text)


def float32(values: Any) -> Any:
    """The numbers so that ``dumps`` prints what a 32-bit float needs and no more."""
    return np.asarray(values, dtype=np.float32)
