"""``ivr call``: rings the server as a gateway does, with a recording for a caller."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import click
import soundfile

from ivr import event_loop
from ivr.call.events import Prompt
from ivr.call.prompt_audio import PromptAudio
from ivr.cli.clock import at_option, moment, working_morning
from ivr.errors import ServerError
from ivr.gateways.clients import CLIENTS, client_class
from ivr.gateways.clients.client import GatewayClient, Silenced, Text, Told, Trouble
from ivr.gateways.clients.ring import RECORD_HZ, CallResult, Heard, ring
from ivr.replay.client import Pace
from ivr.replay.clips import Clip, read_clip, speech_end_s
from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.settings import Settings, load_settings

__all__ = ["command"]

_KEYS = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class _Line:
    """A server to ring, and how to ask it what it decided."""

    url: str
    ask: Callable[[str], Any]  # call id -> awaitable of the call's record, or None
    headers: Mapping[str, str] = field(default_factory=dict)


@click.command("call")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--gateway",
    type=click.Choice(list(CLIENTS)),
    default="vosk",
    show_default=True,
    help="Ring as this gateway does.",
)
@click.option(
    "--url", help="A running server, ws://HOST:PORT or tcp://HOST:PORT; else one is started."
)
@click.option(
    "--http", "http_url", help="Its HTTP port, http://HOST:PORT, to ask what was decided."
)
@click.option("--token", envvar="KAPOK_TOKEN", help="A token of the server's.")
@click.option(
    "--pace",
    type=click.Choice([pace.value for pace in Pace]),
    default=Pace.REAL.value,
    show_default=True,
    help="As a caller speaks, or as fast as the server takes it.",
)
@click.option(
    "--dtmf",
    multiple=True,
    metavar="KEY[@SECONDS]",
    help="Press a key, after so many seconds; without them, after the recording.",
)
@click.option("--call-id", help="How the gateway names the call; by default a random UUID.")
@click.option("--caller", help="The caller's number.")
@click.option("--param", multiple=True, metavar="NAME=VALUE", help="What the dialplan passes on.")
@click.option(
    "--pause",
    "pause_s",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Listen for so many seconds before speaking.",
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0.1),
    default=4.0,
    show_default=True,
    help="Hang up after so many seconds in which the server says nothing.",
)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Write what was heard: caller left."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@at_option("without it Tuesday at 10:00, for the server that is started")
@click.option("--config", type=click.Path(path_type=Path), help="The kapok.yaml to use.")
def command(
    file: Path,
    gateway: str,
    url: str | None,
    http_url: str | None,
    token: str | None,
    pace: str,
    dtmf: tuple[str, ...],
    call_id: str | None,
    caller: str | None,
    param: tuple[str, ...],
    pause_s: float,
    patience_s: float,
    record: Path | None,
    as_json: bool,
    at: datetime | None,
    config: Path | None,
) -> None:
    """Ring the server as a gateway does; FILE is what the caller says.

    Shows what is said, when, and what was decided. Of a server that runs elsewhere, prompts have
    no text, and the decision is what the protocol tells, or its HTTP port (--http).
    """
    if url and at:
        raise click.UsageError("--at is for a server started here; give it to ivr serve instead")
    clip = read_clip(file)
    keys = [_key(text, clip.duration_s) for text in dtmf]
    told: list[dict[str, Any]] = []

    def tell(at_s: float, who: str, what: str) -> None:
        told.append({"at_s": round(at_s, 2), "who": who, "what": what})
        if not as_json:
            click.echo(f"{at_s:6.2f} s  {who:<8} {what}")

    async def run() -> tuple[CallResult, dict[str, Any] | None]:
        settings = None if url else load_settings(config)
        clock = _Clock()
        async with _line(
            url, http_url, token, settings, at, lambda p: tell(clock(), "kapok", p.text)
        ) as line:
            client = _client(gateway, call_id, caller, _parameters(param), settings)
            clock.start()
            result = await ring(
                client,
                line.url if url else _own_url(line.url, client),
                clip,
                pace=Pace(pace),
                keys=keys,
                pause_s=pause_s,
                patience_s=patience_s,
                headers=line.headers,
                on_said=lambda heard: _tell(heard, tell),
            )
            return result, await line.ask(client.call_id)

    result, call = event_loop.run(run())
    if record is not None:
        soundfile.write(record, result.stereo(), RECORD_HZ)
    decision = (call or {}).get("decision") or result.decision
    if as_json:
        click.echo(json.dumps(_summary(result, clip, told, decision), ensure_ascii=False))
    else:
        click.echo(
            f"{'':10}{'decided' if decision else 'no decision is known':<8} {_shown(decision)}"
        )


class _Clock:
    """Seconds since the call began, on the event loop's clock."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    def __call__(self) -> float:
        return self._loop.time() - self._began_s if self._loop else 0.0


# --- options ------------------------------------------------------------------------------------


def _key(text: str, end_s: float) -> tuple[float, str]:
    """``5@1.5`` -> (1.5, "5"); ``5`` is pressed after the recording."""
    key, _, at_s = text.partition("@")
    try:
        pressed_s = float(at_s) if at_s else end_s
    except ValueError:
        raise click.UsageError(f"--dtmf {text}: write KEY@SECONDS, 0@1.5 for instance") from None
    if key.upper() not in _KEYS or not 0 <= pressed_s < 3600:
        raise click.UsageError(f"--dtmf {text}: a key is one of 0-9, *, #, A-D")
    return pressed_s, key.upper()


def _parameters(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = [
        text for text, (name, equals, _) in zip(given, pairs, strict=True) if not (name and equals)
    ]
    if wrong:
        raise click.UsageError(f"--param {wrong[0]}: write NAME=VALUE, language=yue for instance")
    return {name: value for name, _, value in pairs}


def _client(
    gateway: str,
    call_id: str | None,
    caller: str | None,
    parameters: dict[str, str],
    settings: Settings | None,
) -> GatewayClient:
    parameters = _credentials(gateway, settings) | parameters
    kind = client_class(gateway)
    return kind(call_id=call_id or str(uuid.uuid4()), caller=caller, parameters=parameters)


def _credentials(gateway: str, settings: Settings | None) -> dict[str, str]:
    """What the settings ask of this gateway, for a server started here."""
    if settings is None:
        return {}
    own = settings.gateways
    if gateway == "genesys" and own.genesys.keys:
        api_key, secret = next(iter(own.genesys.keys.items()))
        return {"api_key": api_key, "secret": secret}
    if gateway == "twilio" and own.twilio.auth_token:
        return {"auth_token": own.twilio.auth_token}
    return {}


# --- the server ---------------------------------------------------------------------------------


@asynccontextmanager
async def _line(
    url: str | None,
    http_url: str | None,
    token: str | None,
    settings: Settings | None,
    at: datetime | None,
    on_prompt: Callable[[Prompt], None],
) -> AsyncIterator[_Line]:
    if url is not None or settings is None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        yield _Line(url or "", lambda call_id: _asked(http_url, call_id, headers), headers)
        return
    services = await asyncio.to_thread(Services.load, settings)
    zone = services.catalogue.timezone
    now = moment(at or working_morning(datetime.now(ZoneInfo(zone))), zone)
    own = settings.gateways.model_copy(update={"audiosocket_port": 0})
    server = KapokServer(
        services,
        settings.model_copy(update={"gateways": own, "webhook": None}),
        host="127.0.0.1",
        port=0,
        now=lambda: now,
        voice=_TellingVoice(PromptAudio(settings.prompts), on_prompt),
    )
    async with server:

        async def ask(call_id: str) -> dict[str, Any] | None:
            await server.wait_idle()
            record = server.registry.call(call_id)
            return record.as_json() if record else None

        yield _Line(f"{server.url} {server.audiosocket_url}", ask)


def _own_url(urls: str, client: GatewayClient) -> str:
    websocket, tcp = urls.split()
    return tcp if client.transport == "tcp" else websocket


class _TellingVoice:
    """Prompts as they are, and what they say told as they begin."""

    def __init__(self, voice: PromptAudio, tell: Callable[[Prompt], None]) -> None:
        self._voice, self._tell = voice, tell

    def pcm(self, prompt: Prompt) -> bytes:
        self._tell(prompt)
        return self._voice.pcm(prompt)


async def _asked(
    http_url: str | None, call_id: str, headers: Mapping[str, str]
) -> dict[str, Any] | None:
    """The decision by the HTTP port; None without one, or where it knows none."""
    if http_url is None:
        return None
    url = f"{http_url.rstrip('/')}/calls/{call_id}"
    try:
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
            if answer.status == 404:
                return None
            answer.raise_for_status()
            got: dict[str, Any] = await answer.json()
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ServerError(
            f"{url}: {error}; is it the HTTP port, and does it need --token?"
        ) from error
    return {"decision": got} if "action" in got else got


# --- printing -----------------------------------------------------------------------------------


def _tell(heard: Heard, tell: Callable[[float, str, str], None]) -> None:
    match heard.said:
        case Text(text, final=True, added=added):
            if text:
                tell(heard.at_s, "heard", text)
            prompt = (added.get("call") or {}).get("prompt") if added else None
            if prompt:
                tell(heard.at_s, "kapok", prompt)
        case Silenced():
            tell(heard.at_s, "kapok", "(stops: the caller speaks)")
        case Told(decision):
            tell(heard.at_s, "told", _shown(decision))
        case Trouble(reason):
            tell(heard.at_s, "trouble", reason)
        case _:
            pass


def _shown(decision: Mapping[str, Any] | None) -> str:
    if not decision:
        return ""
    keys = ("action", "queue", "number", "reason", "confidence", "language")
    return "  ".join(
        f"{key} {decision[key]}" for key in keys if decision.get(key) not in (None, "", 0.0, "0.0")
    )


def _summary(
    result: CallResult,
    clip: Clip,
    told: list[dict[str, Any]],
    decision: Mapping[str, Any] | None,
) -> dict[str, Any]:
    end_s = speech_end_s(clip)
    decided_s = result.first(Told)
    return {
        "call_id": result.call_id,
        "gateway": result.gateway,
        "decision": decision,
        "told_after_speech_s": (
            round(decided_s - end_s, 3) if decided_s is not None and end_s is not None else None
        ),
        "stopped_at_s": result.first(Silenced),
        "audio_s": round(result.audio_s, 2),
        "ended": result.ended or "the caller hung up",
        "events": told,
    }
