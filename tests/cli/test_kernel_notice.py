"""Who waits for the compiler is told so, once."""

from __future__ import annotations

import threading

import pytest

from ivr.cli import _kernel


def test_a_compiled_kernel_is_ready_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    _kernel.compile_kernel()  # at the latest now
    _kernel.ready_kernel()
    assert capsys.readouterr().err == ""


def test_a_notice_where_compiling_lasts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = threading.Event()
    echo = _kernel.click.echo

    def heard(*args: object, **options: object) -> None:
        echo(*args, **options)
        said.set()

    monkeypatch.setattr(_kernel, "_SILENT_S", 0.0)
    monkeypatch.setattr(_kernel.click, "echo", heard)
    monkeypatch.setattr(_kernel, "compile_kernel", lambda: said.wait(10))
    _kernel.ready_kernel()
    assert "once on this machine" in capsys.readouterr().err
