"""How to install what is missing: words that work from a checkout."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.asr.sherpa_engine import import_sherpa
from ivr.errors import IvrError
from ivr.extras import install
from ivr.store.postgresql import PostgresqlBackend
from ivr.store.redis import RedisBackend

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


def test_every_extra_that_is_named_is_there() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "ivr").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"(?:install|extra)\('(\w+)'\)", text)}
    assert named >= {"redis", "postgres", "otel", "report", "sherpa", "distributed"}
    assert named <= set(EXTRAS)


def test_no_message_names_a_package_that_no_index_has() -> None:
    for folder in ("ivr", "training", "bench", "scripts", "docs", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md") and path != Path(__file__).resolve():
                assert "kapok-ivr[" not in path.read_text("utf-8"), path


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("redis", "redis", lambda: RedisBackend("redis://127.0.0.1", name="x", keep_s=1.0)),
        ("psycopg", "postgres", lambda: PostgresqlBackend("postgresql://x", name="x")),
        ("sherpa_onnx", "sherpa", import_sherpa),
    ],
)
def test_what_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, package: str, extra: str, use: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails, as where there is none
    with pytest.raises(IvrError) as refused:
        use()
    assert str(refused.value).endswith(f"pip install -e '.[{extra}]'")
    assert install(extra) in str(refused.value)
