"""A Vosk model directory whose "speech" is pure tones: tiny, exact, and loaded by the real Vosk.

Each unit of the model is a frequency: the network turns the MFCCs back into log mel energies
(with 40 orthonormal cepstra the inverse DCT is the transpose) and a unit's logit is how far its
mel band stands above the mean of all bands; silence is the blank. The graph is a loop of words
over a compact CTC topology, written here in OpenFst's binary format. So a test knows exactly
which words, times and posteriors to expect, at a cost of a few kilobytes and milliseconds.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE_HZ = 8000
BINS = 40
LOW_HZ, HIGH_HZ = 20.0, RATE_HZ / 2 - 200.0
#: A mel bin is "on" where it stands this far (nepers) above the mean bin.
THRESHOLD = 3.5
#: Logits a neper: high, so that what is no tone is surely one thing or the other, and lattices
#: of real speech stay small.
SHARPNESS = 8.0

#: word -> (frequency in Hertz, graph cost); words of one frequency are homophones.
MANDARIN_WORDS = {
    "我": (400.0, 1.0),
    "窝": (400.0, 2.0),
    "要": (700.0, 1.0),
    "社保": (1000.0, 1.0),
    "[unk]": (1300.0, 1.0),
}
CANTONESE_WORDS = {
    "我": (1800.0, 1.0),
    "想": (2200.0, 1.0),
    "查吓": (2700.0, 1.0),
    "社保": (3300.0, 1.0),
}

_ARC = "<iifi"
_FST_MAGIC = 2125659606


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def mel_bin(hertz: float) -> int:
    """The mel bin whose centre is nearest to a frequency."""
    step = (_mel(HIGH_HZ) - _mel(LOW_HZ)) / (BINS + 1)
    return round((_mel(hertz) - _mel(LOW_HZ)) / step) - 1


def _inverse_dct() -> npt.NDArray[np.float64]:
    k, n = np.mgrid[0:BINS, 0:BINS]
    dct = np.sqrt(2.0 / BINS) * np.cos(np.pi / BINS * (n + 0.5) * k)
    dct[0] = np.sqrt(1.0 / BINS)
    return dct.T


def _vector(values: Sequence[float]) -> str:
    return " [ " + " ".join(f"{value:.6g}" for value in values) + " ]"


def _final_mdl(frequencies: Sequence[float]) -> str:
    units = 1 + len(frequencies)
    weights = np.zeros((units, BINS))
    for unit, hertz in enumerate(frequencies, 1):
        weights[unit, mel_bin(hertz)] = 1.0
    weights[1:] -= weights[1:].mean(axis=1, keepdims=True)
    matrix = SHARPNESS * weights @ _inverse_dct()
    bias = [SHARPNESS * THRESHOLD] + [0.0] * len(frequencies)
    phones = " ".join(str(unit + 1) for unit in range(units))
    rows = "\n".join("  " + " ".join(f"{x:.6g}" for x in row) for row in matrix)
    return (
        "<TransitionModel> \n<Topology> \n<TopologyEntry> \n<ForPhones> \n"
        f"{phones}\n</ForPhones> \n<State> 0 <PdfClass> 0 <Transition> 0 0.5 <Transition> 1 0.5 "
        "</State> \n<State> 1 </State> \n</TopologyEntry> \n</Topology> \n"
        f"<Triples> {units} \n"
        + "".join(f"{unit + 1} 0 {unit} \n" for unit in range(units))
        + "</Triples> \n<LogProbs> \n [ 0 "
        + " ".join(["-0.693147"] * 2 * units)
        + " ]\n</LogProbs> \n</TransitionModel> \n<Nnet3> \n"
        f"input-node name=input dim={BINS}\n"
        "component-node name=out component=out input=input\n"
        "component-node name=logsoftmax component=logsoftmax input=out\n"
        "output-node name=output input=logsoftmax objective=linear\n\n<NumComponents> 2 \n"
        f"<ComponentName> out <FixedAffineComponent> <LinearParams> [\n{rows} ]\n"
        f"<BiasParams>{_vector(bias)}\n</FixedAffineComponent>\n"
        f"<ComponentName> logsoftmax <LogSoftmaxComponent> <Dim> {units} <ValueAvg> [ ] "
        "<DerivAvg> [ ] <Count> 0 <OderivRms> [ ] <OderivCount> 0 <NumDimsSelfRepaired> 0 "
        "<NumDimsProcessed> 0 </LogSoftmaxComponent>\n"
        "</Nnet3> \n<LeftContext> 0 <RightContext> 0 <Priors> [ ]\n"
    )


def _fst(
    states: Sequence[Sequence[tuple[int, int, float, int]]], final: Mapping[int, float]
) -> bytes:
    """OpenFst's binary ``vector`` of ``standard`` arcs; state 0 starts."""
    arcs = sum(len(state) for state in states)
    body = struct.pack("<i", _FST_MAGIC)
    for name in (b"vector", b"standard"):
        body += struct.pack("<i", len(name)) + name
    body += struct.pack("<iiQqqq", 2, 0, 0x3, 0, len(states), arcs)  # expanded, mutable
    for number, state in enumerate(states):
        body += struct.pack("<fq", final.get(number, math.inf), len(state))
        body += b"".join(struct.pack(_ARC, *arc) for arc in state)
    return body


def _graph(words: Mapping[str, tuple[float, float]], frequencies: Sequence[float]) -> bytes:
    loop: list[tuple[int, int, float, int]] = [(1, 0, 0.0, 0)]  # the blank's self-loop
    states = [loop]
    for number, (hertz, cost) in enumerate(words.values(), 1):
        phone = frequencies.index(hertz) + 2
        loop.append((2 * phone, number, cost, len(states)))
        states.append([(2 * phone - 1, 0, 0.0, len(states)), (0, 0, 0.0, 0)])
    return _fst(states, {0: 0.0})


MODEL_CONF = """\
--min-active=200
--max-active=3000
--beam=12.0
--lattice-beam=3.0
--acoustic-scale=1.0
--frame-subsampling-factor=3
--endpoint.silence-phones=1
--endpoint.rule2.min-trailing-silence=0.5
--endpoint.rule3.min-trailing-silence=0.8
--endpoint.rule4.min-trailing-silence=1.2
"""


def write_tone_model(directory: Path, words: Mapping[str, tuple[float, float]]) -> Path:
    """Write a Vosk model directory for a vocabulary of tones; returns ``directory``."""
    frequencies = sorted({hertz for hertz, _ in words.values()})
    for name in ("am", "conf", "graph"):
        (directory / name).mkdir(parents=True)
    (directory / "am/final.mdl").write_text(_final_mdl(frequencies))
    (directory / "conf/mfcc.conf").write_text(
        f"--sample-frequency={RATE_HZ}\n--use-energy=false\n--num-mel-bins={BINS}\n"
        f"--num-ceps={BINS}\n--cepstral-lifter=0\n--low-freq={LOW_HZ:.0f}\n--high-freq=-200\n"
        "--dither=0\n--snip-edges=false\n"
    )
    (directory / "conf/model.conf").write_text(MODEL_CONF)
    (directory / "graph/HCLG.fst").write_bytes(_graph(words, frequencies))
    lines = [f"{word} {number}\n" for number, word in enumerate(["<eps>", *words])]
    (directory / "graph/words.txt").write_text("".join(lines), encoding="utf-8")
    return directory


def tone(hertz: float, duration_s: float, rate_hz: int = RATE_HZ) -> bytes:
    """A pure tone as PCM, s16le; 0 Hz is silence."""
    n = round(duration_s * rate_hz)
    if not hertz:
        return bytes(2 * n)
    wave = 12000.0 * np.sin(2 * np.pi * hertz * np.arange(n) / rate_hz)
    return np.round(wave).astype("<i2").tobytes()


def say(
    words: Mapping[str, tuple[float, float]],
    *said: str,
    rate_hz: int = RATE_HZ,
    before_s: float = 0.3,
    after_s: float = 0.3,
) -> bytes:
    """Words as tones of 0.3 s with gaps of 0.15 s, PCM s16le."""
    gap = tone(0, 0.15, rate_hz)
    spoken = gap.join(tone(words[word][0], 0.3, rate_hz) for word in said)
    return tone(0, before_s, rate_hz) + spoken + tone(0, after_s, rate_hz)
