from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from ivr.asr.pool import RecognitionPool
from ivr.errors import ServerError


class Gate:
    """A job that runs until it is let go, and knows how many ran at once."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.running = self.most = 0
        self.done: list[int] = []

    def job(self, number: int) -> int:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self._open.wait(10)
        with self._lock:
            self.running -= 1
            self.done.append(number)
        return number

    def open(self) -> None:
        self._open.set()


@pytest.fixture
async def pool() -> AsyncIterator[RecognitionPool]:
    async with RecognitionPool(workers=2, high_water=4, low_water=1) as pool:
        yield pool


async def turns() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_results_and_errors_come_back(pool: RecognitionPool) -> None:
    lane = pool.lane()
    assert await lane.run(lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)
    assert await lane.run(threading.get_ident) != threading.get_ident()
    assert pool.jobs == 0


async def test_a_lane_runs_one_job_at_a_time_in_order(pool: RecognitionPool) -> None:
    gate, lane = Gate(), pool.lane()
    tasks = [asyncio.create_task(lane.run(gate.job, n)) for n in range(5)]
    await turns()
    assert pool.jobs == 1
    gate.open()
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3, 4]
    assert (gate.most, gate.done) == (1, [0, 1, 2, 3, 4])


async def test_no_more_than_the_workers_run_at_once(pool: RecognitionPool) -> None:
    gate = Gate()
    tasks = [asyncio.create_task(pool.lane().run(gate.job, n)) for n in range(4)]
    await turns()
    gate.open()
    assert sorted(await asyncio.gather(*tasks)) == [0, 1, 2, 3]
    assert gate.most <= 2


async def test_jobs_wait_outside_from_the_high_to_the_low_water_mark(
    pool: RecognitionPool,
) -> None:
    gate = Gate()
    tasks = [asyncio.create_task(pool.lane().run(gate.job, n)) for n in range(9)]
    await turns()
    assert (pool.jobs, pool.full) == (4, True)
    with pytest.raises(ServerError, match=r"limit of 4 jobs.*recognition\.workers"):
        await pool.lane().run_nowait(gate.job, 99)
    gate.open()
    assert sorted(await asyncio.gather(*tasks)) == list(range(9))
    assert (pool.jobs, pool.full) == (0, False)
    assert await pool.lane().run_nowait(gate.job, 7) == 7


async def test_a_cancelled_caller_does_not_let_the_next_job_overtake(
    pool: RecognitionPool,
) -> None:
    gate, lane = Gate(), pool.lane()
    first = asyncio.create_task(lane.run(gate.job, 1))
    await turns()
    first.cancel()
    second = asyncio.create_task(lane.run(gate.job, 2))
    await turns()
    assert first.cancelled()
    assert pool.jobs == 1  # the first job still runs; the second waits for it
    gate.open()
    assert await second == 2
    assert (gate.most, gate.done) == (1, [1, 2])


async def test_a_caller_cancelled_while_waiting_leaves_no_trace(pool: RecognitionPool) -> None:
    gate, lane = Gate(), pool.lane()
    first = asyncio.create_task(lane.run(gate.job, 1))
    second = asyncio.create_task(lane.run(gate.job, 2))
    await turns()
    second.cancel()
    gate.open()
    assert await first == 1
    assert await lane.run(gate.job, 3) == 3
    assert gate.done == [1, 3]


async def test_closing_waits_for_jobs_and_refuses_new_ones() -> None:
    pool, gate = RecognitionPool(workers=1, high_water=1), Gate()
    running = asyncio.create_task(pool.lane().run(gate.job, 1))
    outside = asyncio.create_task(pool.lane().run(gate.job, 2))
    await turns()
    closing = asyncio.create_task(pool.aclose())
    await turns()
    assert not closing.done()
    gate.open()
    await closing
    assert await running == 1
    with pytest.raises(ServerError, match="closed"):
        await outside
    with pytest.raises(ServerError, match="closed"):
        await pool.lane().run(gate.job, 3)


@pytest.mark.parametrize(("workers", "high", "low"), [(0, 4, 1), (2, 1, 0), (2, 4, 4), (2, 4, -1)])
def test_impossible_marks_are_refused(workers: int, high: int, low: int) -> None:
    with pytest.raises(ValueError, match="need 1 <= workers"):
        RecognitionPool(workers=workers, high_water=high, low_water=low)


async def test_a_turn_on_the_loop_keeps_the_lane_and_takes_no_thread(pool: RecognitionPool) -> None:
    gate, lane = Gate(), pool.lane()
    others = [asyncio.create_task(pool.lane().run(gate.job, n)) for n in range(4)]
    await turns()
    assert pool.full
    async with lane.turn():  # the marks do not hold it back
        job = asyncio.create_task(lane.run(gate.job, 9))
        await turns()
        assert pool.jobs == 5
    gate.open()
    await asyncio.gather(job, *others)
    assert sorted(gate.done) == [0, 1, 2, 3, 9]
    assert pool.jobs == 0
    await pool.aclose()
    with pytest.raises(ServerError, match="shutting down"):
        async with lane.turn():
            pass
