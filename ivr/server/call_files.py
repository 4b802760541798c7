"""What is kept of calls: event logs as JSON lines and, where it is turned on, audio as WAV.

    files = CallFiles(settings.call_log)
    keep = files.keep("c-1", began=now)  # var/calls/2026-11-25/c-1.jsonl

A call never fails because something cannot be kept: that is one line in the log, and nothing more
is kept of this call. Files are for the user alone who runs the server (mode 600); a call id that
was used before on that day gets a number behind it.
"""

from __future__ import annotations

import logging
import os
import re
import wave
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ivr.call.event_log import as_line
from ivr.settings import CallLogSettings

__all__ = ["CallFiles", "CallKeeping"]

_log = logging.getLogger(__name__)

Record = Mapping[str, Any]

_LONGEST_NAME = 80
_MOST_OF_A_NAME = 1_000


class CallKeeping:
    """Where what is kept of one call goes; this one keeps nothing but tells ``listeners``.

    Used from one thread at a time.
    """

    def __init__(self, *listeners: Callable[[Record], None]) -> None:
        self._listeners = listeners

    @property
    def records_audio(self) -> bool:
        """Whether :meth:`audio` writes to a disk."""
        return False

    def record(self, record: Record) -> None:
        """Take a record of the event log."""
        for listener in self._listeners:
            listener(record)

    def audio(self, pcm: bytes, rate_hz: int) -> None:
        """Take audio of the caller, s16le; the rate is that of the first."""

    def close(self) -> None:
        """The call is over; may be called twice."""


class _Recording(wave.Wave_write):
    """A WAV file that closes what it writes to as well."""

    def __init__(self, file: BinaryIO) -> None:
        self._handle = file
        super().__init__(file)

    def close(self) -> None:
        super().close()
        self._handle.close()


class _FileKeeping(CallKeeping):
    def __init__(
        self,
        log: TextIO,
        recording: Path | None,
        listeners: tuple[Callable[[Record], None], ...],
    ) -> None:
        super().__init__(*listeners)
        self._file: TextIO | None = log
        self._recording = recording
        self._wave: wave.Wave_write | None = None

    @property
    def records_audio(self) -> bool:
        return self._recording is not None and self._file is not None

    def record(self, record: Record) -> None:
        super().record(record)
        if self._file is not None:
            try:
                self._file.write(as_line(record) + "\n")
                self._file.flush()
            except OSError as error:
                self._give_up(error)

    def audio(self, pcm: bytes, rate_hz: int) -> None:
        if self._recording is None or self._file is None:
            return
        try:
            if self._wave is None:
                self._wave = _new_wave(self._recording, rate_hz)
            self._wave.writeframesraw(pcm)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        file, recording, self._file, self._wave = self._file, self._wave, None, None
        try:
            if recording is not None:
                recording.close()
            if file is not None:
                file.close()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        _log.error("a call's log cannot be written (%s); nothing more is kept of it", error)
        self._file = self._wave = None


class CallFiles:
    """The folder of calls; see the module's docstring."""

    def __init__(self, settings: CallLogSettings) -> None:
        self._folder, self._recording = settings.folder, settings.recording

    def keep(
        self,
        call_id: str,
        *,
        began: datetime,
        listeners: tuple[Callable[[Record], None], ...] = (),
    ) -> CallKeeping:
        """Where to keep a call that begins; ``listeners`` take its records as well."""
        # A gateway may ring twice with one id: the store tells the two apart by their leg.
        leg = began.strftime("%Y%m%dT%H%M%S.%f")
        listeners = tuple(_with_leg(listener, leg) for listener in listeners)
        if self._folder is None:
            return CallKeeping(*listeners)
        try:
            return self._open(self._folder, call_id, began, listeners)
        except OSError as error:
            _log.error("a call cannot be kept in %s (%s)", self._folder, error)
            return CallKeeping(*listeners)

    def _open(
        self,
        root: Path,
        call_id: str,
        began: datetime,
        listeners: tuple[Callable[[Record], None], ...],
    ) -> CallKeeping:
        folder = root / began.date().isoformat()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path, log = _new_file(folder, _file_name(call_id))
        recording = path.with_suffix(".wav") if self._recording else None
        return _FileKeeping(log, recording, listeners)


def _with_leg(listener: Callable[[Record], None], leg: str) -> Callable[[Record], None]:
    return lambda record: listener({**record, "leg": leg})


def _file_name(call_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", call_id)[:_LONGEST_NAME] or "call"


def _new_file(folder: Path, name: str) -> tuple[Path, TextIO]:
    for count in range(_MOST_OF_A_NAME):
        path = folder / (f"{name}.jsonl" if not count else f"{name}-{count}.jsonl")
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        return path, os.fdopen(handle, "w", encoding="utf-8")
    raise FileExistsError(f"{folder / name}.jsonl and {_MOST_OF_A_NAME} more are there already")


def _new_wave(path: Path, rate_hz: int) -> wave.Wave_write:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    recording = _Recording(os.fdopen(handle, "wb"))
    recording.setnchannels(1)
    recording.setsampwidth(2)
    recording.setframerate(rate_hz)
    return recording
