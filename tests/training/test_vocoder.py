"""Continuous speech from isolated recordings."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")
pyworld = pytest.importorskip("pyworld", reason="needs the training extra")

from training import vocoder
from training.corpus import Clip


def _recording(syllable: str, hz: float, *, seconds: float = 0.6) -> Clip:
    """A vowel of falling pitch after a fifth of a second of hiss."""
    rng = np.random.default_rng(len(syllable))
    at = np.arange(int(seconds * 8000)) / 8000
    phase = 2 * np.pi * np.cumsum(hz * (1.1 - 0.2 * at / seconds)) / 8000
    vowel = sum(np.sin(k * phase) / k for k in range(1, 12))
    hiss = rng.standard_normal(len(at))
    audio = np.where(at < 0.2, 300 * hiss, 4000 * vowel).astype(np.int16)
    spans = np.array([[0, 0.2], [0.2, seconds]], np.float32)
    return Clip("cmn", "syllable", "made", "S", syllable, (syllable,), audio, spans)


def _sound(syllable: str, hz: float) -> vocoder.Sound:
    sound = vocoder.analyse(_recording(syllable, hz))
    assert sound is not None
    return sound


VOICE = vocoder.Voice(pitch_hz=120, formants=0.9, liveliness=0.8, pace=1.0, fall=0.05)


def test_a_phrase_has_the_voice_pitch_and_spans_side_by_side() -> None:
    durations = vocoder.Durations([_recording("ma1", 200)] * 12, "cmn")
    sounds = [(_sound(s, 220), [s]) for s in ("sha1", "ma1", "pa1")]
    samples, spoken, spans = vocoder.say(sounds, VOICE, durations, "cmn", np.random.default_rng(1))
    assert spoken == ["sha1", "ma1", "pa1"]
    assert spans.shape == (6, 2)
    assert np.allclose(spans[1:, 0], spans[:-1, 1])
    assert len(samples) / 8000 == pytest.approx(spans[-1, 1], abs=0.02)
    f0, _ = pyworld.harvest(samples.astype(float), 8000, f0_floor=70, f0_ceil=400)
    assert np.median(f0[f0 > 0]) == pytest.approx(120, rel=0.08)


def test_formants_move_and_silence_stays() -> None:
    envelope = np.zeros((2, 257), np.float32)
    envelope[:, 100] = 5
    assert vocoder._moved(envelope, 1.2)[0].argmax() == pytest.approx(120, abs=1)
    assert vocoder.analyse(_silence()) is None


def _silence() -> Clip:
    clip = _recording("ma1", 200)
    return Clip(*[getattr(clip, n) for n in ("language", "kind", "source", "speaker", "label")],
                clip.syllables, np.zeros(4000, np.int16), clip.spans)  # fmt: skip


@pytest.mark.parametrize(
    ("language", "syllables", "spoken"),
    [
        ("cmn", ["ni3", "hao3"], ["ni2", "hao3"]),
        ("cmn", ["wo3", "xiang3", "cha2"], ["wo2", "xiang3", "cha2"]),
        ("yue", ["nei5", "hou2"], ["nei5", "hou2"]),
    ],
)
def test_sandhi(language: str, syllables: list[str], spoken: list[str]) -> None:
    assert vocoder.sandhi(syllables, language) == spoken


def test_recordings_are_labelled_as_they_are_meant_and_not_as_they_sound() -> None:
    clips = [_recording(s, 200) for s in ("ni2", "hao3")]
    speaker = vocoder._Speaker(clips)
    assert speaker.cut(vocoder.sandhi(["ni3", "hao3"], "cmn")) == [(("ni2",), 0), (("hao3",), 1)]
    assert speaker.cut(["ni3"]) is None


def test_the_longest_recording_is_taken() -> None:
    word = Clip("cmn", "word", "made", "S", "你好", ("ni3", "hao3"), np.zeros(9, np.int16))
    speaker = vocoder._Speaker([word, _recording("ni3", 200)])
    assert speaker.cut(["ni3", "hao3", "ni3"]) == [(("ni3", "hao3"), 0), (("ni3",), 2)]


def test_another_voice_says_the_same_at_another_pitch_and_pace() -> None:
    clip = _recording("sha1", 220)
    other, another = vocoder.revoiced(clip, 2, np.random.default_rng(3))
    assert other.speaker != another.speaker
    assert (other.kind, other.syllables) == ("revoiced", clip.syllables)
    assert other.speaker.split("@")[0] == clip.speaker  # so that leaving S out leaves this out
    f0, _ = pyworld.harvest(other.audio.astype(float), 8000, f0_floor=70, f0_ceil=400)
    hz = float(other.speaker.split("@")[1].removesuffix(" Hz"))
    assert np.median(f0[f0 > 0]) == pytest.approx(hz, rel=0.08)
    assert hz != pytest.approx(220, rel=0.03)
    pace = len(other.audio) / len(clip.audio)
    assert other.spans is not None
    assert np.allclose(other.spans, clip.spans * pace, atol=0.02)


def test_nobody_has_no_other_voice() -> None:
    assert vocoder.revoiced(_silence(), 2, np.random.default_rng(3)) == []


def test_a_man_mostly_becomes_a_woman_and_a_woman_a_man() -> None:
    made = {
        hz: vocoder.revoiced(_recording("sha1", hz), 60, np.random.default_rng(4))
        for hz in (110, 230)
    }
    high = {
        hz: np.mean([float(c.speaker.split("@")[1].removesuffix(" Hz")) > 160 for c in clips])
        for hz, clips in made.items()
    }
    assert high[110] > 0.7
    assert high[230] < 0.55


def test_alone_a_voice_keeps_its_pitch_and_the_distance_of_the_tones() -> None:
    high, low = _recording("ma1", 260), _recording("ma4", 180)
    made = vocoder.alone([high, low, _silence()], 2, np.random.default_rng(5))
    assert [c.syllables for c in made] == [("ma1",), ("ma4",)] * 2
    assert {c.kind for c in made} == {"syllable"}
    assert len({c.speaker for c in made}) == 2  # a voice, a name: banks of their own
    for first, second in (made[:2], made[2:]):
        assert first.speaker == second.speaker
        assert first.speaker.split("@")[0] == high.speaker
        heard = [_hz(c) for c in (first, second)]
        assert heard[0] / heard[1] == pytest.approx(260 / 180, rel=0.06)
        named = float(first.speaker.split("@")[1].removesuffix(" Hz"))
        assert np.mean(np.log(heard)) == pytest.approx(np.log(named), abs=0.08)


def _hz(clip: Clip) -> float:
    f0, _ = pyworld.harvest(clip.audio.astype(float), 8000, f0_floor=70, f0_ceil=450)
    return float(np.median(f0[f0 > 0]))
