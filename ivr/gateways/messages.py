"""Reading the text messages of gateways: JSON, keys and digits, with one clear error each."""

from __future__ import annotations

import json
from typing import Any

from ivr.errors import ProtocolError

__all__ = ["MAX_TEXT_CHARS", "digit", "json_object", "printable", "shown"]

#: No gateway's control message comes near it.
MAX_TEXT_CHARS = 64 * 1024

_DIGITS = frozenset("0123456789*#ABCD")


def json_object(text: str, *, max_chars: int = MAX_TEXT_CHARS) -> dict[str, Any]:
    """The JSON object that ``text`` is.

    Raises:
        ProtocolError: it is longer than ``max_chars``, no JSON, or no object.
    """
    if len(text) > max_chars:
        raise ProtocolError(
            f"text message of {len(text)} characters; audio is due as binary messages"
        )
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError(
            f"text message is not JSON: {shown(text)}; audio is due as binary messages"
        ) from None
    if not isinstance(message, dict):
        raise ProtocolError(f"text message is not a JSON object: {shown(message)}")
    return message


def digit(value: Any, key: str) -> str:
    """A DTMF key.

    Raises:
        ProtocolError: ``value``, which stood at ``key``, is none.
    """
    read = str(value).upper()
    if read not in _DIGITS:
        raise ProtocolError(f"{key}: {shown(value)} is not one of 0-9, *, #, A-D")
    return read


def printable(value: Any, *, max_chars: int = 128) -> str:
    """``value`` as it may stand in a line of the log: nothing in it may break one."""
    return "".join(c for c in str(value) if c.isprintable())[:max_chars].strip()


def shown(value: Any) -> str:
    """``value`` as an error quotes it, cut to a length that one reads."""
    whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return repr(whole if len(whole) <= 40 else whole[:40] + "…")
