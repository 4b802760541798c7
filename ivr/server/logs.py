"""What the server logs, and what it never does.

Lines are text or, with ``--log-format json``, one JSON object each: ``time``, ``level``,
``logger``, ``message``, and ``call`` where a line belongs to a call. In whatever is logged, also
in an exception's text, numbers of persons and tokens are hidden before it leaves the process: a
second lock behind the first, which is that no transcript is logged above DEBUG.
"""

from __future__ import annotations

import copy
import logging
import re
import time
from typing import Final, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

from ivr.intent.slots import mask

__all__ = ["LogFormat", "configure", "redacted"]

LogFormat = Literal["text", "json"]

#: Ours, of which the number may be seen; others as they stand in an address or a header. A word
#: that merely follows "token" in a sentence is none.
_TOKENS: Final = re.compile(
    r"(kapok_[0-9a-f]{8}_)[A-Za-z0-9_-]+"
    r"|(token=|Bearer )[^\s&'\"]+"
    r"|([Tt]oken )[A-Za-z0-9_.~+/-]{16,}"
)
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def redacted(text: str) -> str:
    """The text without numbers of seven digits or more, and without tokens."""
    return mask(_TOKENS.sub(lambda m: f"{m[1] or m[2] or m[3]}***", text))


def configure(*, level: str, form: LogFormat = "text", stream: TextIO | None = None) -> None:
    """Log to ``stream``, standard error without one."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Redacting(_json() if form == "json" else logging.Formatter(_TEXT)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They log every handshake with its headers and, at DEBUG, every frame: audio and transcripts.
    for name in ("websockets", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _json() -> logging.Formatter:
    formatter = JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={
            "asctime": "time",
            "levelname": "level",
            "name": "logger",
            "exc_info": "exception",
        },
        datefmt="%Y-%m-%dT%H:%M:%SZ",
        json_ensure_ascii=False,
    )
    formatter.converter = time.gmtime
    return formatter


class _Redacting(logging.Formatter):
    """Another formatter's line, with what is personal or secret hidden in it.

    The id of the call stays as it is: it has to be found again.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        shown = copy.copy(record)
        prefix = f"call {call}: " if (call := getattr(record, "call", None)) else ""
        message = record.getMessage().removeprefix(prefix)
        shown.msg, shown.args = redacted(message), ()
        if not isinstance(self._inner, JsonFormatter):
            shown.msg = prefix + shown.msg
        if record.exc_info:
            shown.exc_text = redacted(self.formatException(record.exc_info))
            shown.exc_info = None
        return self._inner.format(shown)
