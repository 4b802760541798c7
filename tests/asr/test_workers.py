"""Recognition in processes of its own: the same results, and what a dead one costs."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from audio_fixtures import effects
from ivr.asr import worker_process
from ivr.asr.bilingual import BilingualRecogniser, Utterance
from ivr.asr.engine import SecondPassOutcome
from ivr.asr.factory import load_speech
from ivr.asr.worker import Idle
from ivr.asr.workers import RemoteRecogniser, SpeechWorkers
from ivr.audio.files import read_audio
from ivr.errors import AudioError, ModelError
from ivr.language import Language
from ivr.settings import load_settings
from tests.server.installation import Installation, speak, write_installation

ROOT = Path(__file__).parents[2]
LONG = "cmn_consumer_rights_008.wav"
CANTONESE = speak(Language.CANTONESE, "我想查吓", "社保")
MANDARIN = speak(Language.MANDARIN, "我要查", "公积金")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return write_installation(tmp_path_factory.mktemp("workers") / "kapok")


@pytest.fixture(scope="module")
def speech(installation: Installation) -> Iterator[SpeechWorkers]:
    with SpeechWorkers.start(installation.settings(), workers=2) as workers:
        yield workers


def utterance(call: BilingualRecogniser | RemoteRecogniser, pcm: bytes) -> Utterance:
    for at in range(0, len(pcm), 1600):
        if call.accept(pcm[at : at + 1600]).endpoint:
            break
    return call.finish()


def eventually(holds: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait for another process; a condition of the operating system, not a sleep."""
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, "it did not come to pass"
        threading.Event().wait(0.02)


def test_a_worker_hears_what_this_process_hears(
    installation: Installation, speech: SpeechWorkers
) -> None:
    here, there = load_speech(installation.settings()).call(), speech.call()
    assert there.rate_hz == speech.rate_hz == 8000
    for pcm in (CANTONESE, MANDARIN):
        assert replace(utterance(there, pcm), computed_s={}) == replace(
            utterance(here, pcm), computed_s={}
        )


def test_what_a_call_settles_is_the_workers_too(speech: SpeechWorkers) -> None:
    call = speech.call()
    call.keep(Language.CANTONESE)
    call.rules = replace(call.rules, min_trailing_silence_s=0.9)
    assert call.rules.min_trailing_silence_s == 0.9
    assert set(utterance(call, CANTONESE).recognitions) == {Language.CANTONESE}
    call.keep(None)
    call.settle(Language.MANDARIN, 0.99)
    call.reset()
    assert call.accept(b"").language is Language.MANDARIN


def test_errors_of_a_step_come_back_and_the_call_goes_on(speech: SpeechWorkers) -> None:
    call = speech.call()
    with pytest.raises(AudioError, match="whole number"):
        call.accept(b"\0")
    assert utterance(call, CANTONESE).text == "我想查吓社保"


def test_calls_are_spread_and_forgotten(installation: Installation) -> None:
    with SpeechWorkers.start(installation.settings(), workers=2) as speech:
        calls = [speech.call() for _ in range(6)]
        assert [w.calls for w in speech._workers] == [3, 3]
        calls[0].close()
        assert [w.calls for w in speech._workers] == [2, 3]
        calls.clear()
        gc.collect()
        assert [w.calls for w in speech._workers] == [0, 0]


def test_a_dead_worker_costs_its_own_calls_alone(installation: Installation) -> None:
    with SpeechWorkers.start(installation.settings(), workers=2) as speech:
        doomed, other = speech.call(), speech.call()
        first = speech.pids[0]
        os.kill(first, signal.SIGKILL)
        eventually(lambda: len(speech.pids) == 1)
        with pytest.raises(ModelError, match="worker of this call was lost"):
            doomed.accept(bytes(1600))
        assert utterance(other, CANTONESE).text == "我想查吓社保"
        # New calls go to the one that lives; the other is replaced without anybody's help.
        assert utterance(speech.call(), MANDARIN).text == "我要查公积金"
        eventually(lambda: len(speech.pids) == 2)
        assert first not in speech.pids
        assert speech.restarts == 1
        with pytest.raises(ModelError):
            doomed.finish()


def test_with_no_worker_alive_a_call_is_refused_until_there_is_one(
    installation: Installation,
) -> None:
    with SpeechWorkers.start(installation.settings(), workers=1) as speech:
        os.kill(speech.pids[0], signal.SIGKILL)
        eventually(lambda: not speech.pids)
        with pytest.raises(ModelError, match="no recognition worker is alive"):
            speech.call()
        eventually(lambda: len(speech.pids) == 1)
        assert utterance(speech.call(), CANTONESE).text == "我想查吓社保"


def test_a_model_that_cannot_be_loaded_is_said_at_the_start(tmp_path: Path) -> None:
    broken = write_installation(tmp_path / "kapok")
    model = broken.home / "models" / "yue" / "am" / "final.mdl"
    model.write_bytes(model.read_bytes()[:200])
    with pytest.raises(ModelError, match="yue"):
        SpeechWorkers.start(broken.settings(), workers=1)


def test_new_hot_words_come_with_new_workers(installation: Installation) -> None:
    with SpeechWorkers.start(installation.settings(), workers=1) as old:
        call = old.call()
        fresh = old.with_hot_words(["月亮"])
        assert utterance(fresh.call(), CANTONESE).text == "我想查吓社保"
        assert utterance(old.call(), CANTONESE).text == "我想查吓社保"  # nothing is decided yet
        old.retire(fresh)
        # Its call is served to the end, then it ends by itself; new ones go to the others.
        assert utterance(call, MANDARIN).text == "我要查公积金"
        (pid,) = old.pids
        late = old.call()
        assert [w.calls for w in fresh._workers] == [1]
        call.close()
        eventually(lambda: not old.pids)
        eventually(lambda: not Path(f"/proc/{pid}").exists())
        assert utterance(late, MANDARIN).text == "我要查公积金"
        assert utterance(old.call(), CANTONESE).text == "我想查吓社保"
    assert not fresh.pids  # they belong to who has the old ones
    with SpeechWorkers.start(installation.settings(), workers=1) as too_late:
        old.retire(too_late)
        assert not too_late.pids


async def test_on_an_event_loop_no_thread_waits_and_others_may_ask_too(
    speech: SpeechWorkers,
) -> None:
    loop = asyncio.get_running_loop()
    call, other = await asyncio.to_thread(speech.call), await asyncio.to_thread(speech.call)
    assert not call.waits_on_loop
    speech.attach(loop)
    try:
        assert call.waits_on_loop
        with pytest.raises(RuntimeError, match="ask_soon"):
            call.accept(b"")  # it would stop the loop that is to bring the answer

        async def hears(call: RemoteRecogniser, pcm: bytes) -> str:
            for at in range(0, len(pcm), 1600):
                if (await call.accept_soon(pcm[at : at + 1600])).endpoint:
                    break
            return (await asyncio.to_thread(call.finish)).text

        assert await asyncio.gather(hears(call, CANTONESE), hears(other, MANDARIN)) == [
            "我想查吓社保",
            "我要查公积金",
        ]
        with pytest.raises(AudioError, match="whole number"):
            await call.accept_soon(b"\0")
        # What is told is done before what is asked after it, whoever does either.
        await asyncio.to_thread(call.settle, Language.MANDARIN, 0.99)
        assert (await call.accept_soon(b"")).language is Language.MANDARIN
        call.settle(Language.CANTONESE, 0.99)
        assert (await asyncio.to_thread(call.accept, b"")).language is Language.CANTONESE
    finally:
        speech.detach(loop)
    assert not call.waits_on_loop
    assert utterance(call, MANDARIN).text == "我要查公积金"  # by the thread again


async def test_on_an_event_loop_a_dead_worker_tells_those_who_wait(
    installation: Installation,
) -> None:
    with SpeechWorkers.start(installation.settings(), workers=1) as speech:
        call = speech.call()
        speech.attach(asyncio.get_running_loop())
        os.kill(speech.pids[0], signal.SIGSTOP)
        waiting = asyncio.create_task(call.accept_soon(bytes(1600)))
        in_a_thread = asyncio.create_task(asyncio.to_thread(call.finish))
        while speech.waiting < 2:  # noqa: ASYNC110 - a counter sets no event
            await asyncio.sleep(0)
        os.kill(speech.pids[0], signal.SIGKILL)
        for task in (waiting, in_a_thread):
            with pytest.raises(ModelError, match="its process ended"):
                await task
        # The one that takes its place is attached too.
        await asyncio.to_thread(eventually, lambda: len(speech.pids) == 1)
        fresh = await asyncio.to_thread(speech.call)
        while not fresh.waits_on_loop:  # noqa: ASYNC110 - neither does this
            await asyncio.sleep(0)
        assert (await fresh.accept_soon(b"")).partial == ""
        speech.detach(asyncio.get_running_loop())


async def test_more_than_a_socket_holds_is_sent_in_the_end(speech: SpeechWorkers) -> None:
    loop = asyncio.get_running_loop()
    call = await asyncio.to_thread(speech.call)
    speech.attach(loop)
    try:
        # 2 MB at once: the worker reads on only when it has decoded what came before.
        silence = asyncio.gather(*(call.accept_soon(bytes(100_000)) for _ in range(20)))
        assert len(await silence) == 20
    finally:
        speech.detach(loop)


async def test_calls_take_turns_however_much_audio_comes_at_once(speech: SpeechWorkers) -> None:
    loop = asyncio.get_running_loop()
    calls = [await asyncio.to_thread(speech.call) for _ in range(3)]
    long, short = next((a, b) for a, b in combinations(calls, 2) if a._worker is b._worker)
    speech.attach(loop)
    order = []

    async def hears(call: RemoteRecogniser, pcm: bytes) -> None:
        await call.accept_soon(pcm)
        order.append(call)

    try:
        await asyncio.gather(hears(long, bytes(16_000 * 20)), hears(short, bytes(320)))
        assert order == [short, long]
        assert (await asyncio.to_thread(long.accept, CANTONESE)).partial == "我想查吓社保"
    finally:
        speech.detach(loop)


def test_a_message_is_judged_as_one_however_long_it_is(
    installation: Installation, speech: SpeechWorkers
) -> None:
    here, there = load_speech(installation.settings()).call(), speech.call()
    # What is said after three seconds of silence belongs to it too: the message has one answer.
    message = CANTONESE + bytes(2 * 8000 * 3) + MANDARIN
    assert there.accept(message) == here.accept(message)
    for found in (there.finish(), here.finish()):
        texts = {language: heard.text for language, heard in found.recognitions.items()}
        assert texts == {Language.CANTONESE: "我想查吓社保", Language.MANDARIN: "我要查公积金"}
        assert found.duration_s == len(message) / 16_000
    with pytest.raises(AudioError, match="whole number"):
        there.accept(bytes(16_001))


async def test_a_worker_that_answers_others_is_no_dead_one(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(worker_process, "time", SimpleNamespace(monotonic=lambda: now[0]))
    loop = asyncio.get_running_loop()
    with SpeechWorkers.start(installation.settings(), workers=1) as speech:
        call = await asyncio.to_thread(speech.call)
        speech.attach(loop)
        (worker,) = speech._workers

        def unanswered() -> asyncio.Future[object]:
            future = loop.create_future()
            worker._waiting[-2] = (future, now[0])
            return future

        waiting = unanswered()
        for _ in range(3):
            now[0] += 15.0
            await call.accept_soon(bytes(320))
            worker._look()
            assert worker.lost is None
        now[0] += 15.1  # others are answered; of its two threads one hangs
        await call.accept_soon(bytes(320))
        worker._look()
        assert "no answer for 60 s" in str(worker.lost)
        with pytest.raises(ModelError, match="no answer"):
            raise await waiting  # type: ignore[misc]
        speech.detach(loop)


async def test_nobody_waits_for_an_utterance_that_is_heard_again() -> None:
    settings = load_settings(ROOT / "config/kapok.yaml")
    rng = np.random.default_rng(3)
    samples = np.frombuffer(read_audio(ROOT / "audio_fixtures" / LONG, rate_hz=8000).pcm, "<i2")
    unclear = effects.to_pcm16(effects.over_noisy_line(samples / 32768, 10.0, rng)).tobytes()
    loop = asyncio.get_running_loop()
    with SpeechWorkers.start(settings, workers=1) as speech:
        call, other = await asyncio.to_thread(speech.call), await asyncio.to_thread(speech.call)
        speech.attach(loop)
        try:
            await call.accept_soon(unclear)
            ending = asyncio.create_task(asyncio.to_thread(call.finish))
            while not speech.waiting:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(0)
            await other.accept_soon(unclear[:32_000])
            # While one is heard again, another ends as the first pass heard it.
            missed = await asyncio.to_thread(other.finish)
            assert not ending.done()
            assert missed.second_pass is SecondPassOutcome.BUSY
            heard = await ending
            assert heard.text
            assert heard.second_pass is SecondPassOutcome.AGAIN
            # What nobody wants to know is not heard again, though there is time.
            await other.accept_soon(unclear)
            unwanted = await asyncio.to_thread(other.finish, again=False)
            assert unwanted.second_pass is SecondPassOutcome.BUSY
        finally:
            speech.detach(loop)


def test_how_busy_a_thread_is() -> None:
    now = [0.0]
    idle = Idle(lambda: now[0])
    assert idle.busy() == 0.0
    now[0] = 100.0  # it never waited
    assert idle.busy() == pytest.approx(1.0)
    with idle.waiting():
        now[0] += 1.0
    now[0] += 1.0
    share = np.exp(-1.0)  # of what it was before these two seconds
    assert idle.busy() == pytest.approx(share + (1 - share) * 0.5)
    assert idle.busy() == idle.busy()
