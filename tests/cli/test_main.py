"""The entry point: what goes wrong is a line on standard error, and exit status 2."""

from __future__ import annotations

import errno
import os

import pytest

from ivr.cli import cli, main
from ivr.errors import ConfigError


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (ConfigError("a.csv: holds no utterance"), "a.csv: holds no utterance"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report/confusion.png"),
            "report/confusion.png: cannot be read or written (No space left on device)",
        ),
        (
            OSError(errno.EXDEV, os.strerror(errno.EXDEV), "a.part", None, "b.wav"),
            "a.part and b.wav: cannot be read or written (Invalid cross-device link)",
        ),
        (OSError("the line is down"), "the line is down"),
    ],
)
def test_an_error_is_one_line(
    raised: Exception,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"ivr: {line}\n"
