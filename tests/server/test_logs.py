"""What is logged, and what never is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from ivr.server.call import _CallLog
from ivr.server.logs import configure, redacted


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def logged(form: str) -> list[str]:
    stream = io.StringIO()
    configure(level="info", form=form, stream=stream)  # type: ignore[arg-type]
    log = _CallLog("CA1234567890")
    log.info("caller %s, token=kapok_12345678_abcDEF", "13800138000")
    try:
        raise ValueError("电话一三八零零一三八零零零")
    except ValueError:
        log.exception("failed")
    logging.getLogger("ivr.server").warning("plain")
    logging.getLogger("websockets.server").info("Authorization: Bearer kapok_12345678_abcDEF")
    return stream.getvalue().splitlines()


def test_json() -> None:
    first, failed, plain = map(json.loads, logged("json"))
    assert (first["call"], first["level"], first["logger"]) == (
        "CA1234567890",
        "INFO",
        "ivr.server.call",
    )
    assert first["message"] == "caller *********00, token=***"
    assert first["time"].endswith("Z")
    assert "ValueError: 电话*********零零" in failed["exception"]
    assert "call" not in plain


def test_text() -> None:
    lines = logged("text")
    assert lines[0].endswith("call CA1234567890: caller *********00, token=***")
    assert not any("13800138000" in line or "abcDEF" in line for line in lines)
    assert not any("一三八零零" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer kapok_12345678_abc-DEF_1 x", "Bearer *** x"),
        ("GET /?token=abc&x=1", "GET /?token=***&x=1"),
        ("kapok_abcdef12_s3cret", "kapok_abcdef12_***"),
        ("port 2700, 42 calls", "port 2700, 42 calls"),
        (
            "make one with ivr token new --role gateway",
            "make one with ivr token new --role gateway",
        ),
        ("a token is needed", "a token is needed"),
        ("Authorization: Token 0123456789abcdef0123", "Authorization: Token ***"),
    ],
)
def test_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown
