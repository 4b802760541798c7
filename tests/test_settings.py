"""Settings: the shipped file, paths from the home, discovery, and slips."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import ivr
from ivr import settings as settings_module
from ivr.errors import ConfigError
from ivr.language import Language
from ivr.settings import Settings, find_home, load_settings

ROOT = Path(__file__).parents[1]

SMALL = """\
languages:
  cmn: { engine: vosk, model: models/cmn }
  yue: { engine: vosk, model: models/yue }
"""


def install(home: Path, text: str = SMALL) -> Path:
    (home / "config").mkdir(parents=True)
    path = home / "config" / "kapok.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_file_is_valid_and_says_the_defaults(tmp_path: Path):
    shipped = load_settings(ROOT / "config" / "kapok.yaml")
    assert shipped.home == ROOT
    assert shipped.queues == ROOT / "config" / "queues.yaml"
    assert shipped.languages[Language.CANTONESE].model == ROOT / "models" / "yue"
    small = load_settings(install(tmp_path))
    for section in ("server", "recognition", "dialogue"):
        here, there = (
            str(getattr(settings, section)).replace(str(settings.home), "HOME")
            for settings in (shipped, small)
        )
        assert here == there
    assert small.queues == tmp_path / "config" / "queues.yaml"


def test_one_line_puts_another_model_in_place(tmp_path: Path):
    other = SMALL.replace("models/cmn", "models/vosk-model-small-cn-0.22")
    chosen = load_settings(install(tmp_path, other)).languages
    assert chosen["cmn"].model == tmp_path / "models" / "vosk-model-small-cn-0.22"
    assert chosen["yue"].model == tmp_path / "models" / "yue"


def test_an_absolute_path_stays_as_it_is(tmp_path: Path):
    text = SMALL.replace("models/cmn", "/srv/models/cmn")
    assert load_settings(install(tmp_path, text)).languages["cmn"].model == Path("/srv/models/cmn")


def test_a_file_outside_config_has_its_own_directory_as_home(tmp_path: Path):
    path = tmp_path / "other.yaml"
    path.write_text(SMALL, encoding="utf-8")
    assert load_settings(path).languages["cmn"].model == tmp_path / "models" / "cmn"


def test_workers_0_is_one_for_each_core(tmp_path: Path):
    assert load_settings(install(tmp_path / "a")).recognition.threads >= 1
    text = SMALL + "recognition: { workers: 3 }\n"
    assert load_settings(install(tmp_path / "b", text)).recognition.threads == 3


# --- discovery ------------------------------------------------------------------------------


def test_the_variable_comes_first(tmp_path: Path):
    named, here = tmp_path / "named", tmp_path / "here"
    install(named)
    install(here)
    assert find_home(environ={"KAPOK_HOME": str(named)}, cwd=here) == named
    assert load_settings(environ={"KAPOK_HOME": str(named)}, cwd=here).home == named


def test_then_the_current_directory_and_those_above(tmp_path: Path):
    install(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_home(environ={}, cwd=below) == tmp_path


def test_then_the_checkout(tmp_path: Path):
    assert find_home(environ={}, cwd=tmp_path) == ROOT


def test_a_variable_that_leads_nowhere_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"KAPOK_HOME is .*; set it to the directory"):
        find_home(environ={"KAPOK_HOME": str(tmp_path)}, cwd=ROOT)


def test_nothing_found_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "lib" / "ivr" / "__init__.py"
    monkeypatch.setattr(ivr, "__file__", str(package))
    with pytest.raises(ConfigError, match="name the file by --config"):
        find_home(environ={}, cwd=tmp_path)


# --- slips ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SMALL.replace("vosk", "whisper", 1),
            "2:18: 'whisper' is not allowed: it must be 'vosk', 'kapok' or 'sherpa'; "
            "for example 'engine: vosk'",
        ),
        (
            SMALL.replace("models/yue", '""'),
            "3:31: the name of a file or directory is needed here; for example models/cmn",
        ),
        (
            SMALL.splitlines()[0] + "\n" + SMALL.splitlines()[1],
            "1:1: the key 'yue' is missing; add 'yue: { engine: vosk, model: models/yue }'",
        ),
        (
            SMALL + "server: { prot: 80 }",
            "4:11: unknown key 'prot'; did you mean 'port'?",
        ),
        (
            SMALL + "server: { port: 70000 }",
            "4:17: the number '70000' is not allowed: it must be less than or equal to 65535; "
            "for example 'port: 2700'",
        ),
        (
            SMALL + 'server: { port: "2700" }',
            "4:17: a whole number is needed here, not '2700'; for example 'port: 2700'",
        ),
        (
            SMALL + "server: { low_water_s: 5 }",
            "4:24: low_water_s (5) is not below high_water_s (4.0); "
            "write a smaller number for low_water_s",
        ),
        (
            SMALL + "server: { host: a b }",
            "4:17: 'a b' is no address; write for example 127.0.0.1 or 0.0.0.0",
        ),
        (
            SMALL + "dialogue: { no_input_s: .nan }",
            "4:25: the number '.nan' is not allowed: it must be a finite number; "
            "for example 'no_input_s: 5'",
        ),
        (
            SMALL + "server:",
            "4:8: a group of keys is needed here, not nothing; fill it in",
        ),
    ],
)
def test_a_slip_gets_one_line_with_its_place_and_mend(tmp_path: Path, text: str, expected: str):
    path = install(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert str(caught.value) == f"{path}:{expected}"


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "config" / "kapok.yaml")


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_damaged_settings_are_read_or_refused_by_one_error(tmp_path_factory, data: st.DataObject):
    text = (ROOT / "config" / "kapok.yaml").read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    middle = data.draw(
        st.text(alphabet=st.sampled_from(list("~a0:- \n\t\"'[]{}#&*!木：\0")), max_size=6)
    )
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_text(text[:start] + middle + text[end:], encoding="utf-8")
    refused = ""
    try:
        assert load_settings(path).languages
    except ConfigError as error:
        refused = str(error)
    assert all(line.startswith(f"{path}:") for line in refused.splitlines())


def test_secrets_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DESK_SECRET", "0123456789abcdef0123")
    text = SMALL + (
        "webhook: { url: 'https://desk.example/x', secret: $DESK_SECRET }\n"
        "gateways:\n"
        "  twilio: { auth_token: $DESK_SECRET }\n"
        "  genesys: { keys: { k: $DESK_SECRET } }\n"
    )
    loaded = load_settings(install(tmp_path, text))
    assert loaded.webhook is not None
    assert loaded.webhook.secret == "0123456789abcdef0123"
    assert loaded.gateways.genesys.keys["k"] == loaded.gateways.twilio.auth_token
    assert loaded.webhook.secret not in repr(loaded)


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ("webhook: { url: 'desk', secret: 0123456789abcdef }", "'desk' is no web address"),
        ("webhook: { url: 'http://a', secret: short }", "at least 16 characters"),
        ("webhook: { url: 'http://a', secret: $NOT_THERE }", "no variable NOT_THERE; set it"),
        ("gateways: { genesys: { keys: { a: 'not base64, surely' } } }", "not base64"),
        ("gateways: { audiosocket_port: 70000 }", "audiosocket_port"),
    ],
)
def test_gateways_and_webhook_are_checked(tmp_path: Path, section: str, what: str):
    with pytest.raises(ConfigError, match=what) as error:
        load_settings(install(tmp_path, SMALL + section + "\n"))
    assert "kapok.yaml:4:" in str(error.value)


# --- docs/settings.md ------------------------------------------------------------------------


def section(annotation: Any) -> type[BaseModel] | None:
    """The settings within a field, where it is a section of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := section(part))), None)


def every_setting(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Each field's place and its default."""
    for name, field in model.model_fields.items():
        inner = section(field.annotation)
        if inner is not None:
            yield from every_setting(inner, f"{before}{name}.")
        else:
            yield before + name, field.get_default()


def test_the_page_of_settings_names_every_field_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (?:needed|`(.*?)`) \| (.+) \|$", page, re.M)
    told = {place: default for place, default, _ in rows}
    assert len(told) == len(rows)
    known = dict(every_setting(Settings))
    assert set(told) == set(known)
    for place, default in known.items():
        if default is PydanticUndefined:
            assert told[place] == "", place
        else:
            plain = [*default] if isinstance(default, tuple) else default
            assert yaml.safe_load(told[place]) == (
                str(plain) if isinstance(plain, Path) else plain
            ), place


def test_cores_are_those_of_the_container(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    inner = root / "pod" / "kapok"
    inner.mkdir(parents=True)
    own.write_text("0::/pod/kapok\n")
    quota = settings_module._quota_cores
    assert quota(root, own) is None
    (inner / "cpu.max").write_text("max 100000\n")
    assert quota(root, own) is None
    (root / "pod" / "cpu.max").write_text("150000 100000\n")
    assert quota(root, own) == 1.5
    (inner / "cpu.max").write_text("50000 100000\n")
    assert quota(root, own) == 0.5
    # A container sees its own group as the root.
    own.write_text("0::/\n")
    (root / "cpu.max").write_text("200000 100000\n")
    assert quota(root, own) == 2.0
    (root / "cpu.max").write_text("broken\n")
    assert quota(root, own) is None
    assert quota(root, tmp_path / "missing") is None


@pytest.mark.parametrize(("allowed", "cores"), [(None, 4), (0.2, 1), (1.5, 2), (64.0, 4)])
def test_a_quota_of_cores_is_kept(
    monkeypatch: pytest.MonkeyPatch, allowed: float | None, cores: int
) -> None:
    monkeypatch.setattr(settings_module.os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(settings_module, "_quota_cores", lambda: allowed)
    assert settings_module._cores() == cores
