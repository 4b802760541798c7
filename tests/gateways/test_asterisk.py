"""Real calls through a real Asterisk, with the very dialplan of docs/gateways/asterisk.md.

Every call runs at the same time, in real time, in one Asterisk with one server: real recordings,
real models, the real HTTP port. Where no Asterisk is here the tests are skipped.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ivr.audio.files import read_audio
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from tests.gateways.asterisk import ROOT, needs_asterisk, running
from tests.gateways.asterisk_page import (
    NOW,
    QUEUES,
    configuration,
    convert_sounds,
    dialplan,
    of_page,
    settings_for,
)

#: Silence before the caller speaks: a loaded machine takes a moment to connect.
HEAD_S = 1.5


@dataclass(frozen=True)
class Way:
    """A call: the context that is rung, what the caller does, and the agent who must answer."""

    context: str
    queue: str
    fixture: str = ""
    key: str = ""
    lost: bool = False  # Kapok goes away while it listens

    @property
    def name(self) -> str:
        return f"{self.context}-{self.fixture or ('lost' if self.lost else f'key {self.key}')}"


WAYS = (
    Way("kapok-audiosocket", "urban_housing_fund", "yue_urban_housing_fund_002"),
    Way("kapok-audiosocket-16k", "public_security", "cmn_public_security_003"),
    Way("kapok-websocket", "social_security", "cmn_social_security_006"),
    Way("kapok-websocket-plain", "consumer_rights", "yue_consumer_rights_003"),
    Way("kapok-aeap", "enterprise_services", "yue_enterprise_services_006"),
    Way("kapok-audiosocket", "general", key="0"),
    Way("kapok-websocket", "general", key="0"),
    Way("kapok-aeap", "general", key="0"),
    # Kapok cannot be reached: an agent answers all the same.
    Way("kapok-audiosocket-down", "general", "cmn_social_security_006"),
    Way("kapok-websocket-down", "general", "cmn_social_security_006"),
    Way("kapok-aeap-down", "general", "cmn_social_security_006"),
    Way("kapok-audiosocket", "general", lost=True),
    Way("kapok-websocket", "general", lost=True),
    Way("kapok-aeap", "general", lost=True),
)


def numbered() -> dict[str, Way]:
    """Ways by the caller's number."""
    return {f"0208312{number:04}": way for number, way in enumerate(WAYS)}


def rounds() -> tuple[dict[str, Way], ...]:
    """What can be rung at the same time.

    AudioSocket that cannot connect comes by itself: Asterisk 22.10 then closes a descriptor twice,
    which may be another call's by then. Calls that lose their server come last.
    """
    kinds: tuple[dict[str, Way], ...] = ({}, {}, {})
    for number, way in numbered().items():
        alone = way.context == "kapok-audiosocket-down"
        kinds[2 if way.lost else 1 if alone else 0][number] = way
    return kinds


# --- the calls -------------------------------------------------------------------------------


async def ring_all(home: Path) -> dict[str, str]:
    """Make all the calls at once; the queue whose agent answered, by the caller's number."""
    settings, token = settings_for(home)
    services = Services.load(settings)
    convert_sounds(home / "sounds")
    answered: dict[str, str] = {}
    catalogue = services.catalogue
    operations = Operations(settings, catalogue=catalogue, host="127.0.0.1", http_port=0)
    async with KapokServer(
        services, settings, host="127.0.0.1", port=0, now=lambda: NOW, operations=operations
    ) as server:
        files = configuration(server, operations, token, home / "sounds")
        extensions = files.pop("extensions.conf")
        async with running(
            home, extensions=extensions, queues=QUEUES, configuration=files
        ) as asterisk:
            for ways in rounds():
                for number, way in ways.items():
                    asterisk.call(way.context, spoken(way), caller=number, key=way.key)
                if any(way.lost for way in ways.values()):
                    await all_heard(server, len(ways))
                    await server.close(drain_s=0.0)
                while not ways.keys() <= answered.keys():
                    line = await asterisk.until(r"agent of (\w+) answers (\d+)", within_s=60)
                    answered[line[2]] = line[1]
    return answered


async def all_heard(server: KapokServer, calls: int) -> None:
    """Wait until so many calls are there and have begun."""
    async with asyncio.timeout(30):
        while len(server.registry.calls()) < calls:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)


def spoken(way: Way) -> bytes:
    if way.lost:
        return bytes(30 * 16_000)
    if not way.fixture:
        return b""
    pcm = read_audio(ROOT / "audio_fixtures" / f"{way.fixture}.wav").pcm
    return bytes(round(HEAD_S * 16_000)) + pcm


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return asyncio.run(ring_all(tmp_path_factory.mktemp("asterisk")))


@needs_asterisk("app_audiosocket", "chan_websocket", "res_speech_aeap", "func_json", "func_curl")
@pytest.mark.parametrize("number", numbered(), ids=[way.name for way in WAYS])
def test_a_real_call_reaches_the_right_agent(number: str, answered: dict[str, str]) -> None:
    assert answered[number] == numbered()[number].queue


def test_the_page_has_what_asterisk_wants() -> None:
    """Runs without an Asterisk too: the contexts that the page's lines lead to are there."""
    shown = dialplan()
    for target in re.findall(r"Goto\(([a-z-]+),s,1\)", shown):
        assert f"\n[{target}]\n" in f"\n{shown}", target
    assert "type = websocket_client" in of_page("websocket_client.conf")
    assert "protocol = speech_to_text" in of_page("aeap.conf")
