"""Routes by the placement row, through the client that applications import."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from aeterna_cli.errors import TransientError
from aeterna_cli.lab.workload.folder import Moved
from aeterna_cli.lab.workload.routes import Targets
from aeterna_cli.stores.base.placement import PointsPlace

if TYPE_CHECKING:
    from aeterna_cli.client import PlacementClient


class Placing:
    """The placements for one workload. ``clients`` are the application's instances: each thread
    belongs to one of them, in turn. ``served`` reads the primary afresh, for the judge. Owns the
    clients: ``close`` closes them."""

    def __init__(
        self, clients: Sequence["PlacementClient"], served: Callable[[str], PointsPlace | None]
    ) -> None:
        self.served = served
        self._clients = clients
        self._turn = count()
        self._thread = threading.local()

    def client(self) -> "PlacementClient":
        """That of the instance that this thread belongs to."""
        if not hasattr(self._thread, "client"):
            self._thread.client = self._clients[next(self._turn) % len(self._clients)]
        client: PlacementClient = self._thread.client
        return client

    def close(self) -> None:
        for one in self._clients:
            one.close()


class PlacementRoute:
    """One tenant's. Without a row the points are where they began. What the client raises comes
    out as ``TransientError('placement_...')``: the application tries again."""

    def __init__(self, placing: Placing, tenant: Moved) -> None:
        self._placing = placing
        self._tenant = tenant

    @contextmanager
    def writing(self) -> Iterator[Targets]:
        with (
            _typed(),
            self._placing.client().writing(self._tenant.id) as placement,
        ):
            if placement is None:
                yield Targets(self._tenant.place)
            else:
                yield Targets(placement.primary, placement.secondary)

    @contextmanager
    def reading(self) -> Iterator[PointsPlace]:
        with _typed():
            place = self._placing.client().reading(self._tenant.id)
        yield place or self._tenant.place


@contextmanager
def _typed() -> Iterator[None]:
    from aeterna_cli.client import PlacementError

    try:
        yield
    except PlacementError as error:
        words = re.findall("[A-Z][a-z]+", type(error).__name__)
        code = "_".join(word.lower() for word in words if word != "Placement")
        raise TransientError(f"placement_{code}", str(error)) from error
