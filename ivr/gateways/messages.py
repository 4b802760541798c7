"""Reading the text messages of gateways: JSON, keys and digits, with one clear error each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ivr.errors import ProtocolError
from ivr.gateways.gateway import Inbound, Refused
from ivr.language import Language

__all__ = [
    "MAX_TEXT_CHARS",
    "asked_language",
    "asked_prompts",
    "digit",
    "faults",
    "json_object",
    "parsed",
    "printable",
    "shown",
]

#: No gateway's control message comes near it.
MAX_TEXT_CHARS = 64 * 1024

_DIGITS = frozenset("0123456789*#ABCD")


def json_object(text: str, *, max_chars: int = MAX_TEXT_CHARS) -> dict[str, Any]:
    """The JSON object that ``text`` is.

    Raises:
        ProtocolError: it is longer than ``max_chars``, no JSON, no object, or holds half a
            character, which could be neither logged nor answered.
    """
    if len(text) > max_chars:
        raise ProtocolError(
            f"text message of {len(text)} characters; audio is due as binary messages"
        )
    try:
        message = json.loads(text)
        if "\\u" in text:
            json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ProtocolError(
            f"text message holds half a character, a lone \\ud800 to \\udfff: {shown(text)}"
        ) from None
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
    try:
        whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # read it could be
        return "what is nested too deep"
    return repr(whole if len(whole) <= 40 else whole[:40] + "…")


ModelT = TypeVar("ModelT", bound=BaseModel)


def parsed(model: type[ModelT], message: Mapping[str, Any], what: str) -> ModelT:
    """``message`` read as ``model``.

    Raises:
        ProtocolError: it is none; the first thing that is wrong, and where. ``what`` names the
            kind of message.
    """
    try:
        return model.model_validate(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(f"{what}: {place}: {printable(first['msg'])}") from None


def asked_language(parameters: Mapping[str, str]) -> Language | None:
    """The language that a dialplan's parameter ``language`` asks for.

    None, find out, also where it is not known; :func:`faults` says so.
    """
    given = parameters.get("language")
    return Language(given) if given in list(Language) else None


def faults(parameters: Mapping[str, str]) -> list[Inbound]:
    """What a dialplan's parameters have wrong: a call that is there goes on without them."""
    given = parameters.get("language") or "auto"
    if given == "auto" or given in list(Language):
        return []
    reason = f"parameter language: {shown(given)} is not known; use cmn, yue or auto"
    return [Refused(reason=reason)]


def asked_prompts(parameters: Mapping[str, str]) -> bool:
    """Whether the server plays prompts; the dialplan's parameter ``prompts`` turns it ``off``."""
    return parameters.get("prompts", "on").lower() not in ("off", "false", "no", "0")
