"""The model card: ``README.md`` of a model directory, written from its ``model.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["add_convolutional", "write_readme", "write_second_card"]

NAMES = {"cmn": "Mandarin", "yue": "Cantonese"}

SETS = {
    "development": "sentences of people who are in no training data, through mu-law",
    "tuning": "sentences of speakers held out of training, on which the decoder's weights were set",
    "fixtures": "the synthetic calls of `audio_fixtures/`: other espeak-ng voices, telephone band, noise of 10 to 30 dB; the n-gram's weight was chosen on tuning and these",
}
MEASURES = {
    "base_syllable_error": "base-syllable error",
    "toned_syllable_error": "toned-syllable error",
    "character_error": "character error",
    "language_accuracy": "language right",
    "early_language_accuracy": "after 1.5 s of speech",
    "real_time_factor": "real-time factor",
}

SOURCES = {
    "cmn": """\
Speech: audio-cmn by Hugo Lopez, Yue Tan and Chen Wang (CC BY-SA); mp3-chinese-pinyin-sound by davinfifield (Unlicense);
AISHELL-1 sample speakers S0150 and S0252 (Apache-2.0); Common Voice zh-CN and zh-TW (CC0). Before, its
layers also heard the Cantonese sources of models/yue. Synthetic speech by espeak-ng.

Text: word counts of jieba (MIT); open-gram (CC BY-SA 3.0), from which sentences were drawn; transcripts of the speech above;
pronunciations of pypinyin (MIT).""",
    "yue": """\
Speech: 粵音資料集叢 jyut.net (CC BY-SA 4.0); jyutping.org with recordings credited to words.hk 粵典 (MIT); HamBaangLaang
storybooks, its readers and the stories' authors (CC BY 3.0/4.0); Common Voice zh-HK (CC0); SpiCE corpus,
doi:10.5683/SP2/MJOXP3 (CC BY 4.0). Its layers also heard the Mandarin sources of models/cmn. Synthetic speech by
espeak-ng.

Text: rime-cantonese (CC BY 4.0), HKCanCor (CC BY), Common Voice sentences (MPL-2.0), transcripts of the speech above.""",
}

IN_CONTEXT = ", {} of them told apart by what stands beside them in their syllable"

CONVOLUTIONAL = """
`convolutional.onnx` hears finished utterances again, together with the network above and models/second: convolutions over spectrum
and periodicity, {parameters:,.0f} parameters for both languages, trained by `training.train --network convolutional` on the
speech of both; {updates:.0f} updates in {minutes:.0f} minutes. Its matrices are kept in 8 bits. It has the same licence.
"""

TEMPLATE = """\
# {name}: a small {tongue} model in Vosk's format

A factored TDNN of {parameters:.1f} M parameters for telephone speech (8 kHz), trained from scratch by `training/`: frames
labelled by forced alignment first, then lattice-free MMI; {updates:.0f} updates in {minutes:.0f} minutes on one or two processor cores. It
emits {units} units (initials and toned finals{in_context}). The networks of both languages were first trained as one, with lower layers in common.

Measured by `python -m training.evaluate`:

{table}

{sets}

A larger model can stand in its place by one line of `config/kapok.yaml`. `language.onnx` beside the model directories, which
hears the language in the sound, stands on the lower layers of models/yue and was trained on the same speech
(`training/spoken_language.py`); it has the same licence.
{convolutional}
## Sources

{sources}

## Licence

CC BY-SA 4.0 (LICENSE), © the Kapok developers, with attribution to the sources above, whose recordings were cut, changed in
speed and level, and passed through simulated telephone lines.
"""


def _value(measure: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if measure == "real_time_factor" else f"{100 * value:.1f} %"


def write_readme(folder: Path) -> None:
    """Write ``README.md`` beside ``model.json``, figures and all."""
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    measured = {k: v for k, v in card["accuracy"].items() if k in SETS}
    rows = [["test set", "utterances", *MEASURES.values()], ["---"] * (len(MEASURES) + 2)]
    for name, found in measured.items():
        values = [_value(m, found.get(m)) for m in MEASURES]
        rows.append([name, f"{found['utterances']:g}", *values])
    text = TEMPLATE.format(
        name=card["name"],
        tongue=NAMES[card["language"]],
        parameters=card["parameters"] / 1e6,
        updates=card["trained"]["updates"],
        minutes=card["trained"]["minutes"],
        units=card["units"],
        in_context=IN_CONTEXT.format(told) if (told := card.get("units_in_context")) else "",
        table="\n".join(f"| {' | '.join(row)} |" for row in rows),
        sets="\n".join(f"- {name}: {SETS[name]}" for name in measured),
        sources=SOURCES[card["language"]],
        convolutional=CONVOLUTIONAL.format(**of) if (of := card.get("convolutional")) else "",
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def add_convolutional(folder: Path, *, parameters: int, trained: Mapping[str, float]) -> None:
    """Tell in a model's card of the ``convolutional.onnx`` beside it.

    Args:
        folder: of the model.
        parameters: how many the network has.
        trained: ``updates`` and ``minutes``.
    """
    file = folder / "model.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["convolutional"] = {"parameters": parameters, **trained}
    file.write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    write_readme(folder)


SECOND = """\
# {name}: hears finished utterances again

A Conformer of {parameters:.0f} M parameters for telephone speech (8 kHz) in both languages, over whole utterances; what models/cmn and
models/yue, whose units it has, were not sure of is decoded again by it, by them and by the `convolutional.onnx` beside each of them
together (`ivr/asr/joint_decoding.py`). Trained from scratch in nine minutes on a GPU by `training/train_conformer.py`, on what the two models were trained on: cross-entropy on the alignment, then lattice-free MMI. Its
matrices are kept in 4 bits, in blocks of {block}; one of its eight blocks is left out. One line for each language of
`config/kapok.yaml` names it:

    cmn: {{ engine: kapok, model: models/cmn, second_pass: models/second }}

What it gains and costs stands in docs/model-builder.md (`python -m training.evaluate --second-pass models/second`).

## Sources

{sources}

## Licence

CC BY-SA 4.0 (LICENSE), © the Kapok developers, with attribution to the sources above, whose recordings were cut, changed in
speed and level, and passed through simulated telephone lines.
"""


def write_second_card(folder: Path, *, parameters: int, block: int) -> None:
    """Write ``model.json`` and ``README.md`` of the network of the second pass."""
    card = {
        "name": "kapok-second",
        "source": "trained by the Kapok project on openly licensed speech; see README.md beside it",
        "licence": "CC BY-SA 4.0",
        "rate_hz": 8000,
        "parameters": parameters,
    }
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    sources = "\n\n".join(f"### {NAMES[k]}\n\n{v}" for k, v in SOURCES.items())
    text = SECOND.format(
        name=card["name"], parameters=parameters / 1e6, block=block, sources=sources
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
