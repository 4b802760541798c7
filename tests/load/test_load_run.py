"""Calls at real-time pace into a real server, and what is said of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from ivr.cli.load import command
from ivr.errors import ServerError
from ivr.gateways.clients import CLIENTS
from ivr.language import Language
from ivr.load.line import audio_of
from ivr.load.meter import ServerMeter, find_server
from ivr.load.run import Load, hold, ramp
from ivr.load.script import Script, load_scripts
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from tests.server.installation import Installation, speak, write_installation, write_wav

RATE_HZ = 8000
TIMED = ["vosk", "twilio", "vonage", "genesys", "asterisk", "aeap", "freeswitch", "jambonz"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return write_installation(tmp_path_factory.mktemp("load") / "kapok")


@pytest.fixture(scope="module")
def services(installation: Installation) -> Services:
    return installation.services()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixtures")
    spoken = speak(Language.MANDARIN, "我要查", "社保", after_s=0.0)
    write_wav(folder / "a.wav", spoken)
    write_wav(folder / "noise.wav", bytes(RATE_HZ))
    end_s = len(spoken) / 2 / RATE_HZ
    (folder / "labels.csv").write_text(
        "file,language,kind,queue,speech_end_s\n"
        f"a.wav,cmn,speech,social_security,{end_s:.3f}\nnoise.wav,,noise,,\n"
    )
    return folder


def scripts_of(folder: Path, *, listen_s: float = 0.2, gateway: str = "vosk") -> list[Script]:
    rate_hz, encoding, frame_s = audio_of(gateway)
    return load_scripts(
        folder,
        frame_s=frame_s,
        listen_s=listen_s,
        rate_hz=rate_hz,
        encoding=encoding,
        noise_dbfs=-120.0,  # models of tones hear words in any noise
    )


def test_a_script_is_noise_then_speech_in_whole_frames(folder: Path) -> None:
    (script,) = scripts_of(folder, listen_s=1.0)
    assert {len(frame) for frame in script.frames} == {len(script.quiet)} == {1600}
    speech_s = (folder / "a.wav").stat().st_size // 2 / RATE_HZ
    assert script.speech_end_s == pytest.approx(1.0 + speech_s, abs=0.01)
    assert script.duration_s == pytest.approx(script.speech_end_s, abs=0.1)


@pytest.mark.parametrize("gateway", TIMED)
async def test_calls_are_held_and_every_frame_is_answered(
    services: Services, installation: Installation, folder: Path, gateway: str
) -> None:
    scripts = scripts_of(folder, gateway=gateway)
    async with KapokServer(services, installation.settings()) as server:
        assert find_server(server.url) == os.getpid()
        load = Load(
            gateway=gateway, url=server.url, scripts=scripts, meter=ServerMeter(os.getpid())
        )
        figures = await hold(load, calls=2, seconds=4.0, settle_s=0.5)
    assert figures.decided >= 3  # one call follows the other: none waits after its decision
    assert figures.undecided == 0
    assert (figures.frames_lost, figures.refused, figures.broken) == (0, 0, 0)
    told = figures.as_json()
    assert told["calls"] == 2
    # Long before the announcement has been played, which takes more than 4 s.
    assert 0.3 < told["decision_latency_ms"]["p50"] / 1000 < 3.0
    assert set(told["decision_latency_ms"]) >= {"p50", "p95", "p99"}
    assert told["frames_sent"] > 20
    assert told["cpu_cores"] > 0
    assert told["memory_mb"] > 10
    if gateway == "vosk":
        assert told["partial_latency_ms"]["count"] > 20
    json.dumps(told)


def test_every_gateway_can_be_timed_but_one() -> None:
    assert {*TIMED, "audiosocket"} == set(CLIENTS)


def test_a_gateway_that_shows_no_answer_is_refused_up_front() -> None:
    """At once: neither a server is started nor a call made."""
    done = CliRunner().invoke(command, ["--gateway", "audiosocket", "--calls", "1"])
    assert isinstance(done.exception, ServerError)
    assert "audiosocket does not show where the answer begins" in str(done.exception)
    assert str(done.exception).endswith(
        "--gateway vosk, twilio, vonage, genesys, asterisk, aeap, freeswitch, jambonz"
    )


async def test_a_server_that_is_full_is_told_from_one_that_breaks(
    services: Services, installation: Installation, folder: Path
) -> None:
    settings = installation.settings()
    one = settings.model_copy(
        update={"server": settings.server.model_copy(update={"max_calls": 1})}
    )
    async with KapokServer(services, one) as server:
        load = Load(
            gateway="vosk", url=server.url, scripts=scripts_of(folder), meter=ServerMeter(None)
        )
        levels = [
            figures
            async for figures in ramp(load, levels=[3, 4], seconds=2.0, deadline_s=1.0, settle_s=0)
        ]
    (figures,) = levels  # the second is not tried
    assert figures.refused > 0
    assert figures.broken == 0
    assert not figures.held(deadline_s=10.0)
    assert figures.cpu_cores is None
