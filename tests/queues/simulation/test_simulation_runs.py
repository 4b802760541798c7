"""Replications on every engine: the same results, interrupts without loss, arms kept honest."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ivr.errors import SimulationError
from ivr.queues.simulation import Exponential, simulate
from ivr.queues.simulation.runs import (
    DaskCluster,
    Engine,
    LocalProcesses,
    LocalThreads,
    Replications,
    replicate,
    replicate_all,
    replication_seed,
)
from tests.queues.simulation.centres import full_centre, with_front_end

BEFORE = full_centre(hours=24)
ARMS = {"before": BEFORE, "after": with_front_end(BEFORE, routing=None)}
IN_TURN = LocalProcesses(1)


def study(engine: Engine, **options: object) -> Replications:
    return replicate(ARMS, seed=11, replications=5, engine=engine, **options)  # type: ignore[arg-type]


def assert_same(left: Replications, right: Replications) -> None:
    assert left.numbers == right.numbers
    for arm in left.results:
        for one, other in zip(left.results[arm], right.results[arm], strict=True):
            assert one.calls.measures() == pytest.approx(other.calls.measures(), rel=0, nan_ok=True)
            assert np.array_equal(one.calls.wait_histogram, other.calls.wait_histogram)
            assert one.callers == other.callers


@pytest.mark.parametrize(
    "engine", [LocalProcesses(2), LocalThreads(3)], ids=["processes", "threads"]
)
def test_results_do_not_depend_on_the_engine(engine: Engine) -> None:
    assert_same(study(IN_TURN), study(engine))


def test_a_dask_cluster_gives_the_same_results() -> None:
    distributed = pytest.importorskip("distributed", reason="Dask distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, processes=True
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert_same(study(IN_TURN), study(DaskCluster(client)))
        assert_same(study(IN_TURN), study(DaskCluster(cluster.scheduler_address)))


def test_a_scheduler_that_is_not_there_is_named() -> None:
    pytest.importorskip("distributed", reason="Dask distributed is not installed")
    with pytest.raises(SimulationError, match="no-such-protocol"):
        study(DaskCluster("no-such-protocol://127.0.0.1:1"))


def test_replications_are_the_substreams_of_the_seed() -> None:
    third = np.random.SeedSequence(11).spawn(3)[2]
    assert replication_seed(11, 2).generate_state(4).tolist() == third.generate_state(4).tolist()
    assert study(IN_TURN).results["before"][2].callers == simulate(BEFORE, third).callers


@pytest.mark.parametrize("engine", [IN_TURN, LocalProcesses(2), LocalThreads(2)], ids=str)
def test_an_interrupt_loses_nothing_that_is_finished(engine: Engine) -> None:
    def interrupt(done: int, wanted: int) -> None:
        assert wanted == 5
        if done == 2:
            raise KeyboardInterrupt

    partial, whole = study(engine, progress=interrupt), study(IN_TURN)
    assert not partial.complete
    assert len(partial.numbers) == 2
    for arm in ARMS:
        for number, result in zip(partial.numbers, partial.results[arm], strict=True):
            assert result.calls.wait_s == whole.results[arm][number].calls.wait_s
    assert partial.merged("after").replications == 2


INTERRUPTED = """
import os, signal, sys
from ivr.queues.simulation.runs import LocalProcesses, replicate
from tests.queues.simulation.centres import full_centre

def progress(done, wanted):
    print(done, flush=True)
    if done == 3:
        os.killpg(os.getpgrp(), signal.SIGINT)  # what the keyboard sends, to the workers as well

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    study = replicate({"a": full_centre(hours=24)}, seed=1, replications=500,
                      engine=LocalProcesses(2), progress=progress)
    print("kept", len(study.numbers), study.complete, flush=True)
"""


def test_control_c_ends_the_workers_and_keeps_the_results(tmp_path: Path) -> None:
    script = tmp_path / "study.py"
    script.write_text(INTERRUPTED)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, timeout=100, cwd=root, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    counted = [int(line) for line in done.stdout.split("\n") if line.isdigit()]
    assert f"kept {counted[-1]} False" in done.stdout
    assert 3 <= counted[-1] < 500
    assert "Traceback" not in done.stderr


def test_nothing_finished_has_no_result() -> None:
    def interrupt(done: int, wanted: int) -> None:
        raise KeyboardInterrupt

    partial = replicate_all(
        [ARMS, ARMS], seed=1, replications=2, engine=IN_TURN, progress=interrupt
    )
    assert [len(study.numbers) for study in partial] == [1, 0]
    with pytest.raises(SimulationError, match="no replication"):
        partial[1].merged("before")


def test_a_sweep_gives_every_point_the_same_replications() -> None:
    first, second = replicate_all([ARMS, {"only": BEFORE}], seed=11, replications=2, engine=IN_TURN)
    for one, other in zip(first.results["before"], second.results["only"], strict=True):
        assert one.calls.wait_s == other.calls.wait_s


def test_arms_with_other_callers_are_refused() -> None:
    need = replace(BEFORE.needs[0], patience=Exponential(100.0))
    other = replace(BEFORE, needs=(need, *BEFORE.needs[1:]))
    with pytest.raises(SimulationError, match="same callers"):
        replicate({"a": BEFORE, "b": other}, seed=1, replications=1, engine=IN_TURN)
    replicate({"a": BEFORE, "b": other}, seed=1, replications=1, engine=IN_TURN, same_callers=False)
