r"""Where pieces of a computation are carried out: in this process, in several processes here, or on a cluster.

A piece is the call of a function of this module's callers with plain data, so that it can travel; pieces are cut the same way
wherever they run, and their results are put together in their order.  The results are therefore the same either way.

Several processes and clusters are Dask's (``pip install 'landscape-workbench[cluster]'``): a scheduler that runs already, for instance one of
dask-jobqueue under Slurm, is named by its address.  A worker that dies gives its piece back, and another one takes it.

>>> Here().map(abs, [-2, 3])
[2, 3]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from workbench.errors import NotThere, StudyError

__all__ = ["Here", "Workers", "opened"]

T = TypeVar("T")
S = TypeVar("S")

#: Seconds within which a scheduler must answer.
ANSWERS = 30
#: Deaths of workers that a piece survives.
DEATHS = 3


class Workers(Protocol):
    """Something that calls a function on every item and returns the results in order."""

    def map(
        self, function: Callable[[T], S], items: Sequence[T], update: Callable[[float], None] | None = None
    ) -> list[S]:
        """Return ``function(item)`` for every item; ``update`` is told the fraction that is done."""


class Here:
    """The process itself, one piece after the other."""

    def map(
        self, function: Callable[[T], S], items: Sequence[T], update: Callable[[float], None] | None = None
    ) -> list[S]:
        """Return the results in order."""
        out = []
        for number, item in enumerate(items):
            out.append(function(item))
            if update is not None:
                update((number + 1) / len(items))
        return out


class _Dask:
    """The workers of a Dask scheduler."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def map(
        self, function: Callable[[T], S], items: Sequence[T], update: Callable[[float], None] | None = None
    ) -> list[S]:
        from distributed import as_completed

        futures = self.client.map(function, items, pure=False, retries=DEATHS)
        for done, _ in enumerate(as_completed(futures), start=1):
            if update is not None:
                update(done / len(futures))
        return list(self.client.gather(futures))


@contextmanager
def opened(count: int | None = None, address: str | None = None) -> Iterator[Workers]:
    """Give the workers: ``count`` processes here, those of the scheduler at an address, or this process for neither.

    Raises
    ------
    StudyError
        If both are asked for, or no scheduler answers at the address.
    NotThere
        If Dask is not installed.
    """
    if count is not None and address is not None:
        raise StudyError("--workers and --cluster: found both; accepted: one of them")
    if address is None and (count is None or count == 1):
        yield Here()
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise NotThere(
            "several processes and clusters need Dask: pip install 'landscape-workbench[cluster]'; without it leave out --workers and"
            " --cluster"
        ) from None
    if address is None:
        with (
            LocalCluster(
                n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as cluster,
            Client(cluster) as client,
        ):
            yield _Dask(client)
        return
    try:
        client = Client(address, timeout=ANSWERS)
    except (OSError, ValueError, TimeoutError) as error:
        raise StudyError(
            f"--cluster: found no scheduler at '{address}' ({error}); accepted: an address such as tcp://127.0.0.1:8786 at which one runs"
        ) from None
    with client:
        yield _Dask(client)
