"""Replications and sweeps on all cores, through one interface.

A *study* is a set of arms, models by name, that are compared on the same callers. Replication r of
every study and arm runs with the substream r of the seed, wherever it runs, so that the results are
the same on any engine and with any number of workers.

Where the work is done is an :class:`Engine`: :class:`LocalProcesses` by default,
:class:`LocalThreads` (the kernel releases the interpreter lock) or :class:`DaskCluster`, a cluster
of Dask distributed that runs already (``pip install -e '.[distributed]'``).
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures import ThreadPoolExecutor as _Threads
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from ivr.errors import SimulationError
from ivr.extras import install
from ivr.queues.simulation.distributions import Constant
from ivr.queues.simulation.model import ArrivalRates, CentreModel, Group, Need, Queue, Shift, Skill
from ivr.queues.simulation.results import RunResult, merge
from ivr.queues.simulation.run import simulate

__all__ = [
    "Arms",
    "DaskCluster",
    "Engine",
    "LocalProcesses",
    "LocalThreads",
    "Progress",
    "Replications",
    "compile_kernel",
    "replicate",
    "replicate_all",
    "replication_seed",
]

Arms = Mapping[str, CentreModel]
#: Called with (replications finished, replications wanted).
Progress = Callable[[int, int], None]
_AHEAD = 3  # pieces of work a worker has waiting: enough to keep it busy, and bounded


@dataclass(frozen=True, slots=True)
class Work:
    """One replication of all arms of a study."""

    arms: Arms
    seed: int
    replication: int
    same_callers: bool


class Engine(Protocol):
    """Runs a function over many items."""

    def map_unordered(
        self, function: Callable[[Work], dict[str, RunResult]], items: Iterable[Work]
    ) -> Iterator[tuple[int, dict[str, RunResult]]]:
        """(place of the item, result) of each as it is finished. Closing it stops the rest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replications:
    """The results of a study.

    ``results[arm]`` has one result for each of the replications ``numbers``, in their order: the
    first of one arm and the first of another had the same callers. After an interrupt fewer are
    there than ``wanted``.
    """

    seed: int
    wanted: int
    numbers: tuple[int, ...]
    results: Mapping[str, tuple[RunResult, ...]]

    @property
    def complete(self) -> bool:
        """Whether all replications are there."""
        return len(self.numbers) == self.wanted

    def merged(self, arm: str) -> RunResult:
        """All replications of an arm added up.

        Raises :class:`SimulationError` where none was finished.
        """
        if not self.numbers:
            raise SimulationError("no replication was finished; let the study run longer")
        return merge(self.results[arm])


def replication_seed(seed: int, replication: int) -> np.random.SeedSequence:
    """The substream of a replication, as ``SeedSequence(seed).spawn`` makes it."""
    return np.random.SeedSequence(seed, spawn_key=(replication,))


def replicate(
    arms: Arms,
    *,
    seed: int,
    replications: int = 30,
    engine: Engine | None = None,
    progress: Progress | None = None,
    same_callers: bool = True,
) -> Replications:
    """All replications of one study; see :func:`replicate_all`."""
    return replicate_all(
        [arms],
        seed=seed,
        replications=replications,
        engine=engine,
        progress=progress,
        same_callers=same_callers,
    )[0]


def replicate_all(
    studies: Sequence[Arms],
    *,
    seed: int,
    replications: int = 30,
    engine: Engine | None = None,
    progress: Progress | None = None,
    same_callers: bool = True,
) -> list[Replications]:
    """All replications of several studies, the points of a sweep.

    An interrupt (KeyboardInterrupt, from the keyboard or raised by ``progress``) ends the work and
    returns what is finished; :attr:`Replications.complete` says so.

    Raises :class:`SimulationError` where the arms of a study did not have the same callers, unless
    ``same_callers`` is false (arms that are meant to differ in arrivals, service or patience).
    """
    work = [
        Work(arms, seed, replication, same_callers)
        for replication in range(replications)
        for arms in studies
    ]
    done: dict[int, dict[str, RunResult]] = {}
    finished = (engine or LocalProcesses()).map_unordered(_run, work)
    try:
        for place, results in finished:
            done[place] = results
            if progress:
                progress(len(done), len(work))
    except KeyboardInterrupt:
        pass
    finally:
        close = getattr(finished, "close", None)
        if close:
            close()
    return [
        _gather(arms, seed, replications, done, first, len(studies))
        for first, arms in enumerate(studies)
    ]


def _gather(
    arms: Arms,
    seed: int,
    wanted: int,
    done: Mapping[int, dict[str, RunResult]],
    first: int,
    step: int,
) -> Replications:
    numbers = tuple(r for r in range(wanted) if first + r * step in done)
    results = {arm: tuple(done[first + r * step][arm] for r in numbers) for arm in arms}
    return Replications(seed=seed, wanted=wanted, numbers=numbers, results=results)


def _run(work: Work) -> dict[str, RunResult]:
    seed = replication_seed(work.seed, work.replication)
    results = {arm: simulate(model, seed) for arm, model in work.arms.items()}
    if work.same_callers and len({result.callers for result in results.values()}) > 1:
        raise SimulationError(
            f"the arms {', '.join(work.arms)} did not have the same callers in replication "
            f"{work.replication}: give both the same arrivals, service times and patience"
        )
    return results


def compile_kernel() -> None:
    """Compile the kernel, or read it from numba's cache, before workers all do it at once."""
    everybody = Shift(from_s=0, to_s=60, agents=1)
    simulate(
        CentreModel(
            needs=(Need(name="n", queue="q", service=Constant(1.0)),),
            queues=(Queue(name="q"),),
            groups=(Group(name="g", skills=(Skill(queue="q"),), shifts=(everybody,)),),
            arrivals=ArrivalRates(per_hour=((1.0,),), interval_s=60.0),
            period_s=60.0,
            length_s=60.0,
        ),
        0,
    )


@dataclass(frozen=True, slots=True)
class LocalProcesses:
    """Processes of this machine; ``workers``: how many (default: one for each core)."""

    workers: int | None = None

    def map_unordered(
        self, function: Callable[[Work], dict[str, RunResult]], items: Iterable[Work]
    ) -> Iterator[tuple[int, dict[str, RunResult]]]:
        """See :class:`Engine`. Work that is under way when it is closed is finished first."""
        workers = self.workers or _cores()
        compile_kernel()
        if workers == 1:
            yield from enumerate(map(function, items))
            return
        with ProcessPoolExecutor(workers, _context(), _ignore_interrupts) as pool:
            yield from _windowed(pool, function, items, _AHEAD * workers)


@dataclass(frozen=True, slots=True)
class LocalThreads:
    """Threads of this process: nothing to start, and nothing to copy."""

    workers: int | None = None

    def map_unordered(
        self, function: Callable[[Work], dict[str, RunResult]], items: Iterable[Work]
    ) -> Iterator[tuple[int, dict[str, RunResult]]]:
        """See :class:`Engine`."""
        compile_kernel()
        workers = self.workers or _cores()
        with _Threads(workers) as pool:
            yield from _windowed(pool, function, items, _AHEAD * workers)


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """A Dask cluster; ``client``: a ``distributed.Client``, or the address of its scheduler.

    Kapok must be installed on its workers.
    """

    client: Any

    def map_unordered(
        self, function: Callable[[Work], dict[str, RunResult]], items: Iterable[Work]
    ) -> Iterator[tuple[int, dict[str, RunResult]]]:
        """See :class:`Engine`.

        Raises :class:`SimulationError` where the cluster cannot be reached or Dask is not there.
        """
        if not isinstance(self.client, str):
            yield from self._over(self.client, function, items)
            return
        with _client(self.client) as client:
            yield from self._over(client, function, items)

    def _over(
        self,
        client: Any,
        function: Callable[[Work], dict[str, RunResult]],
        items: Iterable[Work],
    ) -> Iterator[tuple[int, dict[str, RunResult]]]:
        dask = _dask()
        numbered = enumerate(items)
        places: dict[Any, int] = {}

        def submit(count: int) -> list[Any]:
            futures = []
            for place, item in islice(numbered, count):
                future = client.submit(function, item, pure=False)
                places[future] = place
                futures.append(future)
            return futures

        ahead = _AHEAD * max(1, sum(client.nthreads().values()))
        finished = dask.as_completed(submit(ahead))
        try:
            for future in finished:
                result = future.result()
                place = places.pop(future)
                finished.update(submit(1))
                yield place, result
        finally:
            client.cancel(list(places))


def _dask() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise SimulationError(f"Dask is not installed; {install('distributed')}") from error


def _client(address: str) -> Any:
    try:
        return _dask().Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise SimulationError(
            f"no Dask scheduler answers at {address} ({error}); "
            "start one (dask scheduler) or give its address"
        ) from error


def _windowed(
    pool: Executor,
    function: Callable[[Work], dict[str, RunResult]],
    items: Iterable[Work],
    ahead: int,
) -> Iterator[tuple[int, dict[str, RunResult]]]:
    """Submit ``ahead`` items, and one more for each that is finished.

    An interrupt cancels what has not begun and still gives the results of what has.
    """
    numbered = enumerate(items)
    places: dict[Future[dict[str, RunResult]], int] = {}
    try:
        while True:
            for place, item in islice(numbered, ahead - len(places)):
                places[pool.submit(function, item)] = place
            if not places:
                return
            for future in wait(places, return_when=FIRST_COMPLETED).done:
                yield places.pop(future), future.result()
    except KeyboardInterrupt:
        running = {future: place for future, place in places.items() if not future.cancel()}
        for future, place in running.items():
            yield place, future.result()
        raise
    finally:
        for future in places:
            future.cancel()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _context() -> multiprocessing.context.BaseContext:
    """Fresh processes that import Kapok once; never a fork of this one, which may have threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ivr.queues.simulation.run"])
    return context


def _ignore_interrupts() -> None:
    """An interrupt is for the process that gathers the results; workers finish what they do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
