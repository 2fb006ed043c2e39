"""A deployment whose shard registry and collections are put back afterwards."""

from collections.abc import Iterator

import pytest

from tests.integration.deployment import Practice
from tests.integration.workflows.shard.sharding import Sharding, sharding


@pytest.fixture
def shards(practice: Practice) -> Iterator[Sharding]:
    with sharding(practice) as made:
        yield made
