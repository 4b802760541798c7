"""docs/gateways/kapok.lua in a real Lua, against a server, with mod_audio_fork played by the test.

FreeSWITCH itself cannot be installed from a package here. What stands for it does what the
module's sources do: it splits commands at spaces, keeps a path of 128 characters, writes the
audio of ``playAudio`` into a file, and makes an event of every other message.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from ivr.language import Language
from ivr.server.app import KapokServer
from tests.gateways.asterisk import ROOT
from tests.server.installation import speak, write_installation

lupa = pytest.importorskip("lupa", reason="the script is run by lupa")

SCRIPT = (ROOT / "docs" / "gateways" / "kapok.lua").read_text(encoding="utf-8")
UUID = "5ddf1a67-dd7b-4a9d-a5b9-c1c1a8c1f7f4"
_MAX_PATH = 128  # MAX_PATH_LEN of mod_audio_fork.h
_EVENTS = {
    "playAudio": "play_audio",
    "killAudio": "kill_audio",
    "transcription": "transcription",
    "transfer": "transfer",
    "disconnect": "disconnect",
}


class Event:
    """An event of FreeSWITCH's."""

    def __init__(self, name: str, body: str | None, uuid: str = UUID) -> None:
        self._headers = {"Event-Subclass": f"mod_audio_fork::{name}", "Unique-ID": uuid}
        self._body = body

    def getHeader(self, _self: Any, name: str) -> str | None:  # noqa: N802
        return self._headers.get(name)

    def getBody(self, _self: Any) -> str | None:  # noqa: N802
        return self._body


class FreeSwitch:
    """One call in FreeSWITCH with mod_audio_fork, and what the script can do with it.

    Args:
        says: what the caller says, s16le at 8 kHz.
        presses: a key that the caller presses while the first prompt is played.
        events: instead of a connection, what the module would tell.
    """

    def __init__(
        self,
        home: Path,
        *,
        says: bytes = b"",
        presses: str = "",
        events: tuple[Event, ...] = (),
    ) -> None:
        self.home, self.says, self.presses = home, says, presses
        self.scripted = bool(events)
        self.events: deque[Event] = deque(events)
        self.done: list[tuple[str, ...]] = []
        self.sent: list[str] = []
        self.played: list[str] = []
        self.up = True
        self.input: Any = None
        self._socket: ClientConnection | None = None
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()

    # --- the module ------------------------------------------------------------------------

    def api(self, command: str, arguments: str) -> str:
        assert command == "uuid_audio_fork"
        words = arguments.split(" ")
        assert words[0] == UUID
        self.done.append((words[1],))
        match words[1]:
            case "start":
                assert words[3:] == ["mono", "8000"]
                return self._start(words[2])
            case "send_text":
                (text,) = words[2:]  # a second word would be lost
                json.loads(text)
                self.sent.append(text)
                if self._socket is not None:
                    self._socket.send(text)
            case "stop":
                self.close()
        return "+OK Success\n"

    def _start(self, url: str) -> str:
        assert len("/" + url.split("/", 3)[3]) < _MAX_PATH
        if self.scripted:
            return "+OK Success\n"
        try:
            protocol = Subprotocol("audio.drachtio.org")
            dialled = connect(url, subprotocols=[protocol], compression=None)
            self._socket = self._stack.enter_context(dialled)
        except OSError:
            self.events.append(Event("connect_failed", '{"reason":"refused"}'))
            return "+OK Success\n"
        for work in (self._receive, self._speak):
            self._threads.append(threading.Thread(target=work, args=(self._socket,)))
            self._threads[-1].start()
        return "+OK Success\n"

    def _speak(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            for start in range(0, len(self.says), 320):
                socket.send(self.says[start : start + 320])

    def _receive(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            for text in socket:
                self._take(json.loads(text))
        self.events.append(Event("disconnect", None))

    def _take(self, message: dict[str, Any]) -> None:
        data = message.get("data")
        if message["type"] == "playAudio":
            file = self.home / f"{UUID}_{len(self.played)}.tmp.r8"
            file.write_bytes(base64.b64decode(data.pop("audioContent")))
            data["file"] = str(file)
        body = json.dumps(data, ensure_ascii=False) if data is not None else None
        self.events.append(Event(_EVENTS[message["type"]], body))

    def close(self) -> None:
        self._stack.close()
        for thread in self._threads:
            thread.join()

    # --- what the script calls ---------------------------------------------------------------

    def run(self, server: str) -> FreeSwitch:
        """Run the script for this call."""
        lua = lupa.LuaRuntime(register_eval=False, register_builtins=False)
        names = lua.globals()
        names.session = lua.table_from(
            {
                "get_uuid": lambda _: UUID,
                "getVariable": lambda _, name: "+86 20 8312 3456",
                "answer": lambda _: None,
                "ready": lambda _: self.up,
                "setInputCallback": lambda _, name, extra: setattr(self, "input", names[name]),
                "streamFile": lambda _, file: self._play(lua, file),
                "sleep": lambda _, ms: threading.Event().wait(ms / 1000),
                "execute": lambda _, *application: self.done.append(application),
                "hangup": lambda _: self.done.append(("hangup",)),
            }
        )
        names.freeswitch = lua.table_from(
            {
                "API": lambda: lua.table_from({"execute": lambda _, *words: self.api(*words)}),
                "EventConsumer": lambda *first: lua.table_from(
                    {"bind": lambda _, *more: None, "pop": lambda _, block: self._pop(lua)}
                ),
            }
        )
        names.argv = lua.table(server)
        try:
            lua.execute(SCRIPT)
        finally:
            self.close()
        return self

    def _pop(self, lua: Any) -> Any:
        if not self.events:
            return None
        event = self.events.popleft()
        return lua.table_from({"getHeader": event.getHeader, "getBody": event.getBody})

    def _play(self, lua: Any, file: str) -> None:
        self.played.append(file)
        if self.presses:
            self.input(None, "dtmf", lua.table_from({"digit": self.presses}))
            self.presses = ""

    @property
    def applications(self) -> list[tuple[str, ...]]:
        """What the call was given to."""
        return [done for done in self.done if done[0] not in ("start", "send_text", "stop")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that runs in a thread of its own."""
    installation = write_installation(tmp_path_factory.mktemp("kapok"))
    services, running, over = installation.services(), threading.Event(), asyncio.Event()
    address: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with KapokServer(services, installation.settings()) as kapok:
            address.append(kapok.url)
            running.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert running.wait(30)
    yield address[0]
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def test_a_caller_who_speaks_is_put_into_the_queue(server: str, tmp_path: Path) -> None:
    says = speak(Language.CANTONESE, "我想查吓", "社保")
    call = FreeSwitch(tmp_path, says=says).run(server)
    assert call.applications == [("callcenter", "social_security@default")]
    assert call.played
    assert all(Path(file).stat().st_size for file in call.played)
    ids = [json.loads(text)["data"]["id"] for text in call.sent if "playDone" in text]
    assert len(ids) == len(call.played)
    assert ids[-1].startswith("route")


def test_a_caller_who_presses_0_goes_to_a_person(server: str, tmp_path: Path) -> None:
    call = FreeSwitch(tmp_path, says=bytes(1600), presses="0").run(server)
    assert json.loads(call.sent[0]) == {"event": "dtmf", "dtmf": "0"}
    assert call.applications == [("callcenter", "general@default")]


def test_where_kapok_cannot_be_reached_a_person_takes_the_call(tmp_path: Path) -> None:
    call = FreeSwitch(tmp_path).run("ws://127.0.0.1:9")
    assert call.applications == [("callcenter", "general@default")]


@pytest.mark.parametrize(
    ("decision", "application"),
    [
        (
            '{"action":"emergency","queue":null,"number":"119"}',
            ("bridge", "sofia/gateway/trunk/119"),
        ),
        ('{"action": "hang_up", "queue": null}', ("hangup",)),
        ('{"action":"callback","queue":null}', ("hangup",)),
        ('{"action":"queue","queue":"housing_fund"}', ("callcenter", "housing_fund@default")),
        (None, ("callcenter", "general@default")),
    ],
)
def test_every_decision_is_carried_out(
    decision: str | None, application: tuple[str, ...], tmp_path: Path
) -> None:
    told = (Event("transfer", decision),) if decision else ()
    others = Event("transfer", '{"action":"queue","queue":"other"}', uuid="another call")
    call = FreeSwitch(tmp_path, events=(*told, others, Event("disconnect", None))).run("ws://x")
    assert call.applications == [application]
    assert ("stop",) in call.done


def test_a_caller_who_has_hung_up_is_left_alone(tmp_path: Path) -> None:
    call = FreeSwitch(tmp_path, events=(Event("disconnect", None),))
    call.up = False
    call.run("ws://x")
    assert call.applications == []
