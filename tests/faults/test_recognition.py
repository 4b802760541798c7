"""Recognition fails: a worker is killed, hangs, or finds its model truncated."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from websockets.asyncio.client import connect

from ivr.asr import worker_process
from ivr.asr.workers import SpeechWorkers
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from tests.faults.conftest import (
    BLOCK,
    HOUSING_FUND,
    SOCIAL_SECURITY,
    a_call_is_served,
    ask,
    comes_true,
    say,
)
from tests.server.installation import Installation
from tests.server.test_metrics import value


def workers_of(services: Services) -> SpeechWorkers:
    assert isinstance(services.speech, SpeechWorkers)
    return services.speech


async def test_a_killed_worker_hands_its_calls_to_a_person_and_no_others(
    server: KapokServer, services: Services
) -> None:
    speech = workers_of(services)
    async with connect(server.url) as doomed, connect(server.url) as other:
        for line in (doomed, other):  # each is in a worker of its own
            await ask(line, bytes(BLOCK))
        os.kill(speech.pids[0], signal.SIGKILL)
        await comes_true(lambda: len(speech.pids) == 1)
        metrics = server._operations.metrics
        assert value(metrics, "kapok_recognition_workers") == 1
        failed = (await say(doomed, SOCIAL_SECURITY))[0]
        assert failed["decision"] == "person"
        assert "worker of this call was lost" in failed["error"]
        (final,) = await say(other, HOUSING_FUND)
        assert final["queue"] == "housing_fund"
        # The line of the failed call stays open until a person has it: it is answered, not cut.
        assert await ask(doomed, bytes(BLOCK)) == {"partial": ""}
    await a_call_is_served(server)
    await comes_true(lambda: len(speech.pids) == 2)
    await a_call_is_served(server)
    assert speech.restarts == 1
    assert value(metrics, "kapok_recognition_workers") == 2
    assert value(metrics, "kapok_recognition_worker_restarts_total") == 1


async def test_a_worker_that_hangs_is_taken_for_dead(
    server: KapokServer, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = workers_of(services)
    async with connect(server.url) as line:
        await ask(line, bytes(BLOCK))
        # Not before: a slow machine may take as long over an honest answer.
        monkeypatch.setattr(worker_process, "PATIENCE_S", 0.5)
        os.kill(speech.pids[0], signal.SIGSTOP)
        failed = (await say(line, SOCIAL_SECURITY))[0]
    monkeypatch.undo()
    assert failed["decision"] == "person"
    assert "no answer for" in failed["error"]
    await comes_true(lambda: len(speech.pids) == 2)
    await a_call_is_served(server)


async def test_a_truncated_model_costs_the_restart_not_the_calls(
    server: KapokServer, services: Services, installation: Installation
) -> None:
    speech = workers_of(services)
    model = installation.home / "models" / "yue" / "am" / "final.mdl"
    whole = model.read_bytes()
    async with connect(server.url) as first, connect(server.url) as second:
        for line in (first, second):
            await ask(line, bytes(BLOCK))
        model.write_bytes(whole[: len(whole) // 2])
        # Loaded models do not mind.
        (final,) = await say(second, HOUSING_FUND)
        assert final["queue"] == "housing_fund"
        # A worker that dies now cannot be replaced: the other serves on.
        os.kill(speech.pids[0], signal.SIGKILL)
        await comes_true(lambda: len(speech.pids) == 1)
        await a_call_is_served(server)
        model.write_bytes(whole)
        await comes_true(lambda: len(speech.pids) == 2)
    await a_call_is_served(server)


async def test_every_worker_dies_and_the_server_recovers(
    server: KapokServer, services: Services
) -> None:
    speech = workers_of(services)
    async with connect(server.url) as line:
        await ask(line, bytes(BLOCK))
        for pid in speech.pids:
            os.kill(pid, signal.SIGKILL)
        await comes_true(lambda: not speech.pids)
        (failed, *_) = await say(line, SOCIAL_SECURITY)
        assert failed["decision"] == "person"
    async with connect(server.url) as line:  # nobody recognises, and the caller is not left alone
        answers = await say(line, SOCIAL_SECURITY[: 4 * BLOCK])
        assert all(answer["decision"] == "person" for answer in answers)
    await comes_true(lambda: len(speech.pids) == 2)
    await asyncio.gather(*(a_call_is_served(server) for _ in range(4)))
