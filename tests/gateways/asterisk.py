"""A real Asterisk for tests: its own folders, loopback alone, a call file as the caller.

``scripts/get_asterisk`` puts one into ``.cache/asterisk``; ``KAPOK_ASTERISK`` names another, and an
``asterisk`` of the machine's serves too. Where none has AudioSocket, its tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["Asterisk", "Program", "asterisk_program", "needs_asterisk", "running"]

ROOT = Path(__file__).parents[2]
_READY_S = 30.0
_MODULES = [
    "res_sorcery_config",
    "res_sorcery_memory",
    "res_timing_timerfd",
    "pbx_config",
    "pbx_spool",
    "app_verbose",
    "app_playback",
    "app_stack",
    "app_exec",
    "app_queue",
    "app_dial",
    "app_senddtmf",
    "app_mixmonitor",
    "app_system",
    "res_audiosocket",
    "app_audiosocket",
    "chan_audiosocket",
    "res_http_websocket",
    "res_websocket_client",
    "chan_websocket",
    "res_speech",
    "res_aeap",
    "res_speech_aeap",
    "app_speech_utils",
    "res_curl",
    "func_curl",
    "func_json",
    "func_strings",
    "func_uuid",
    "func_channel",
    "func_logic",
    "func_callerid",
    "format_sln",
    "format_gsm",
    "codec_gsm",
    "format_pcm",
    "format_wav",
    "codec_ulaw",
    "codec_alaw",
    "codec_a_mu",
    "codec_resample",
    "bridge_simple",
    "bridge_holding",
    "bridge_builtin_features",
]
_QUEUE = (
    "[kapok-{name}]\nstrategy=ringall\njoinempty=yes\ntimeout=5\nmember => Local/{name}@agents/n\n"
)
#: Every queue has one agent, who answers and says which queue it was.
_AGENTS = """
[agents]
exten => _[a-z].,1,Answer()
 same => n,Verbose(1,agent of ${EXTEN} answers ${CALLERID(num)})
 same => n,Wait(5)
"""
_CALLER = """
[caller]
exten => _X.,1,Playback(%(home)s/${EXTEN})
 same => n,Wait(60)
exten => _rec-X.,1,Set(AT=%(home)s/${EXTEN:4})
 same => n,MixMonitor(${EXTEN:4}.sln,r(${AT}-heard.sln)t(${AT}-said.sln))
 same => n,Playback(${AT})
 same => n,Wait(60)
exten => _key-X,1,Wait(1)
 same => n,SendDTMF(${EXTEN:4})
 same => n,Wait(60)
"""


@dataclass(frozen=True, slots=True)
class Program:
    """An Asterisk that can be run."""

    path: str
    modules: Path
    data: Path

    def has(self, module: str) -> bool:
        """Whether it has a module."""
        return (self.modules / f"{module}.so").is_file()


@lru_cache(maxsize=1)
def asterisk_program() -> Program | None:
    """The Asterisk to test with; None where there is none with AudioSocket."""
    home = Path(os.environ.get("KAPOK_ASTERISK", ROOT / ".cache" / "asterisk"))
    candidates = [
        Program(str(home / "asterisk"), modules, home / "root/usr/share/asterisk")
        for modules in home.glob("root/usr/lib/*/asterisk/modules")
    ]
    system = shutil.which("asterisk")
    candidates += [
        Program(system, modules, Path("/usr/share/asterisk"))
        for modules in Path("/usr/lib").glob("**/asterisk/modules")
        if system
    ]
    return next((each for each in candidates if each.has("app_audiosocket")), None)


def needs_asterisk(*modules: str) -> pytest.MarkDecorator:
    """Skips a test where there is no Asterisk with ``modules``."""
    import pytest  # here alone: benchmarks run without

    program = asterisk_program()
    missing = [name for name in modules if program is None or not program.has(name)]
    reason = "no Asterisk here: scripts/get_asterisk unpacks one"
    if program is not None:
        reason = f"this Asterisk has no {', '.join(missing)}"
    return pytest.mark.skipif(program is None or bool(missing), reason=reason)


@dataclass
class Asterisk:
    """One that runs; :meth:`call` rings, :meth:`until` waits for a line of its console."""

    program: Program
    home: Path
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    _seen: int = 0

    async def until(self, pattern: str, *, within_s: float = 30.0) -> re.Match[str]:
        """The first new line that ``pattern`` is found in.

        Raises:
            AssertionError: none comes within ``within_s``; it has what came.
        """
        assert self.process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while line := await self.process.stdout.readline():
                    text = line.decode(errors="replace").rstrip()
                    self.lines.append(text)
                    if found := re.search(pattern, text):
                        return found
        raise AssertionError(f"no line with {pattern!r}:\n" + "\n".join(self.lines[-60:]))

    def call(
        self, context: str, pcm: bytes, *, caller: str, key: str = "", record: bool = False
    ) -> None:
        """Ring the extension ``s`` of ``context``, and stay on the line.

        Args:
            pcm: what the caller says, s16le, 8 kHz.
            caller: the caller's number; no two calls have the same.
            key: pressed instead of speaking.
            record: what the caller says and hears, into CALLER-said.sln and CALLER-heard.sln.
        """
        does = f"key-{key}" if key else f"rec-{caller}" if record else caller
        (self.home / f"{caller}.sln").write_bytes(pcm)
        text = (
            f"Channel: Local/s@{context}/n\nCallerID: <{caller}>\nWaitTime: 10\n"
            f"Context: caller\nExtension: {does}\nPriority: 1\n"
        )
        written = self.home / "spool" / "tmp" / f"{caller}.call"
        written.write_text(text, encoding="utf-8")
        written.rename(self.home / "spool" / "outgoing" / written.name)  # it must come whole

    async def command(self, text: str) -> None:
        """Type a command on the console."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        await self.process.stdin.drain()


@asynccontextmanager
async def running(
    home: Path,
    *,
    extensions: str,
    queues: tuple[str, ...],
    configuration: Mapping[str, str] | None = None,
) -> AsyncIterator[Asterisk]:
    """An Asterisk with ``extensions`` in its dialplan.

    Args:
        queues: ``kapok-NAME`` each, with one agent, who answers at once.
        configuration: more files of its configuration.
    """
    program = asterisk_program()
    assert program is not None
    _configure(home, program, extensions, queues, configuration or {})
    process = await asyncio.create_subprocess_exec(
        program.path,
        *("-C", str(home / "etc" / "asterisk.conf"), "-c", "-n", "-vvv"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        limit=1 << 20,
    )
    asterisk = Asterisk(program, home, process)
    try:
        await asterisk.until("Asterisk Ready", within_s=_READY_S)
        yield asterisk
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _configure(
    home: Path,
    program: Program,
    extensions: str,
    queues: tuple[str, ...],
    configuration: Mapping[str, str],
) -> None:
    for folder in ("etc", "run", "log", "lib", "spool/outgoing", "spool/tmp"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    folders = {
        "astetcdir": home / "etc",
        "astmoddir": program.modules,
        "astdatadir": program.data,
        "astvarlibdir": home / "lib",
        "astdbdir": home / "lib",
        "astkeydir": home / "lib",
        "astagidir": home / "lib",
        "astspooldir": home / "spool",
        "astrundir": home / "run",
        "astlogdir": home / "log",
    }
    files = {
        "asterisk.conf": "[directories]\n"
        + "".join(f"{name} => {folder}\n" for name, folder in folders.items())
        + "[options]\nnocolor=yes\nhideconnect=yes\n",
        "modules.conf": "[modules]\nautoload=no\n"
        + "".join(f"load={name}.so\n" for name in _MODULES if program.has(name)),
        "logger.conf": "[logfiles]\nconsole => notice,warning,error,verbose(3)\n",
        "extensions.conf": "\n".join((extensions, _AGENTS, _CALLER % {"home": home})),
        "queues.conf": "[general]\n" + "".join(_QUEUE.format(name=name) for name in queues),
        **configuration,
    }
    for name, text in files.items():
        (home / "etc" / name).write_text(text, encoding="utf-8")
