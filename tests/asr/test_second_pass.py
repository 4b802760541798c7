"""A second pass by the real sherpa-onnx; its model has SenseVoice's shape and one answer.

The real model is 230 MB. This one takes the same inputs and says 查社保 whatever it hears, after
the four tokens (language, emotion, event, form) that SenseVoice begins with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx: pip install -e .[test]")
pytest.importorskip("sherpa_onnx", reason="needs sherpa-onnx: pip install -e .[test]")

import onnx
from onnx import TensorProto, helper, numpy_helper
from tone_model import MANDARIN_WORDS, RATE_HZ, say, tone, write_tone_model

from ivr.asr.factory import load_speech
from ivr.asr.installed import installed_models
from ivr.asr.second_pass import SenseVoice, TwoPassEngine
from ivr.asr.vosk_engine import VoskEngine
from ivr.errors import ModelError
from ivr.language import Language
from ivr.settings import load_settings

TOKENS = ["<blank>", "<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>", "查", "社", "保"]
SPELT = [1, 2, 3, 4, 5, 6, 7]


def write_sense_voice(path: Path) -> Path:
    path.mkdir(parents=True)
    scores = np.zeros((1, len(SPELT), len(TOKENS)), np.float32)
    scores[0, range(len(SPELT)), SPELT] = 9.0
    blank = np.zeros((1, 1, len(TOKENS)), np.float32)
    blank[..., 0] = 9.0
    value, node = helper.make_tensor_value_info, helper.make_node
    constants = {
        "spelt": scores,
        "blank": blank,
        "four": np.array([4 - len(SPELT)], np.int64),
        "one": np.array([1], np.int64),
        "width": np.array([len(TOKENS)], np.int64),
        "at": np.array([1], np.int64),
    }
    nodes = [  # frames of x, four more, less those spelt: blanks
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "at"], ["frames"]),
        node("Add", ["frames", "four"], ["rest"]),
        node("Concat", ["one", "rest", "width"], ["size"], axis=0),
        node("Expand", ["blank", "size"], ["silence"]),
        node("Concat", ["spelt", "silence"], ["logits"], axis=1),
    ]
    int32, floats = TensorProto.INT32, TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "sense_voice",
            [
                value("x", floats, ["N", "T", 560]),
                value("x_length", int32, ["N"]),
                value("language", int32, ["N"]),
                value("text_norm", int32, ["N"]),
            ],
            [value("logits", floats, ["N", "T4", len(TOKENS)])],
            [numpy_helper.from_array(v, k) for k, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    facts = {
        "model_type": "sense_voice_ctc",
        "comment": "",
        "vocab_size": len(TOKENS),
        "lfr_window_size": 7,
        "lfr_window_shift": 6,
        "normalize_samples": 0,
        "with_itn": 14,
        "without_itn": 15,
        **{f"lang_{name}": n for n, name in enumerate(["auto", "zh", "en", "yue", "ja", "ko"])},
        "neg_mean": ",".join(["0"] * 560),
        "inv_stddev": ",".join(["1"] * 560),
    }
    helper.set_model_props(model, {k: str(v) for k, v in facts.items()})
    onnx.save(model, path / "model.int8.onnx")
    lines = [f"{token} {n}\n" for n, token in enumerate(TOKENS)]
    (path / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sense_voice(tmp_path_factory.mktemp("models") / "sherpa-onnx-sense-voice")


@pytest.fixture(scope="module")
def second(folder: Path) -> SenseVoice:
    return SenseVoice.load(folder, Language.MANDARIN)


def test_the_second_pass_gives_the_text(mandarin: VoskEngine, second: SenseVoice) -> None:
    recogniser = TwoPassEngine(mandarin, second).recogniser()
    recogniser.accept(say(MANDARIN_WORDS, "我", "要"))
    assert recogniser.partial() == "我要"
    heard = recogniser.finish_first()
    assert recogniser.wants(heard)  # it does not say how sure it has to be
    first, *rest = recogniser.again(heard).hypotheses
    assert first.text == "查社保"
    assert [word.text for word in first.words] == ["查", "社", "保"]
    assert rest[0].text == "我要"  # what the first pass heard still counts
    assert first.confidence > rest[0].confidence
    assert sum(h.confidence for h in (first, *rest)) == pytest.approx(1.0)


def test_where_nothing_was_said_it_is_not_asked(mandarin: VoskEngine, second: SenseVoice) -> None:
    recogniser = TwoPassEngine(mandarin, second).recogniser()
    recogniser.accept(tone(0, 2.0))
    heard = recogniser.finish_first()
    assert not recogniser.wants(heard)
    assert recogniser.again(heard).text == ""


def test_utterances_do_not_touch_each_other(mandarin: VoskEngine, second: SenseVoice) -> None:
    recogniser = TwoPassEngine(mandarin, second).recogniser()
    recogniser.accept(say(MANDARIN_WORDS, "我"))
    recogniser.reset()
    assert recogniser.finish().hypotheses == ()


def test_less_than_a_syllable_is_not_heard(second: SenseVoice) -> None:
    assert second.hear(bytes(100), RATE_HZ) is None
    heard = second.hear(bytes(2 * RATE_HZ), RATE_HZ)
    assert heard is not None
    assert heard.text == "查社保"


def test_one_key_of_the_settings_chooses_it(folder: Path, tmp_path: Path) -> None:
    write_tone_model(tmp_path / "models/cmn", MANDARIN_WORDS)
    (tmp_path / "config").mkdir()
    file = tmp_path / "config/kapok.yaml"
    file.write_text(
        f"languages:\n  cmn: {{ model: models/cmn, second_pass: {folder} }}\n"
        "  yue: { model: models/cmn }\n"
    )
    speech = load_speech(load_settings(file))
    call = speech.call()
    call.keep(Language.MANDARIN)
    call.accept(say(MANDARIN_WORDS, "我"))
    assert call.finish().text == "查社保"


def test_it_is_listed_and_what_is_wrong_is_said(folder: Path, tmp_path: Path) -> None:
    (model,) = installed_models(folder.parent)
    assert model.problem is None
    broken = write_sense_voice(tmp_path / "sherpa-onnx-sense-voice-broken")
    (broken / "model.int8.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="sherpa-onnx cannot load this model"):
        SenseVoice.load(broken, Language.MANDARIN)
    (broken / "tokens.txt").unlink()
    with pytest.raises(ModelError, match=r"tokens\.txt: missing"):
        SenseVoice.load(broken, Language.MANDARIN)
