"""Kaldi's ``final.mdl`` read back: the nnet3 network that :mod:`training.kaldi` wrote.

Only what this project writes is understood: fixed affine, scale and bias components, ReLU, no-op
and log-softmax, and the descriptors ``Append``, ``Offset``, ``Sum`` and ``Scale`` of one level, and
``IfDefined(Offset(...))``, which is how a node reads what a later one made of an earlier frame.
"""

from __future__ import annotations

import itertools
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Component", "Nnet3", "Term", "read_nnet3"]

Floats = npt.NDArray[np.float32]
_NODE = re.compile(rb"^(component|output)-node name=(\S+) (?:component=(\S+) )?input=(\S+)", re.M)
_KINDS = {
    "FixedAffineComponent": "affine",
    "FixedScaleComponent": "scale",
    "FixedBiasComponent": "bias",
    "RectifiedLinearComponent": "relu",
    "NoOpComponent": "none",
    "LogSoftmaxComponent": "log_softmax",
}


@dataclass(frozen=True, slots=True)
class Term:
    """One input of a node: another node's value ``offset`` frames of 10 ms later, times ``scale``.

    What is ``recurrent`` counts as 0 before the first frame.
    """

    node: str
    offset: int = 0
    scale: float = 1.0
    recurrent: bool = False


@dataclass(frozen=True, slots=True)
class Component:
    """A node: its inputs one beside the other (``append``) or added up, then the operation."""

    name: str
    kind: str  # affine, scale, bias, relu, none or log_softmax
    terms: tuple[Term, ...]
    append: bool
    arrays: tuple[Floats, ...] = field(default=(), repr=False)  # affine: (out, in) and (out,)


@dataclass(frozen=True, slots=True)
class Nnet3:
    """A network: its components, the later ones after those that they need, but for recurrence."""

    components: tuple[Component, ...]
    output: str  # the component whose value is the result
    left_context: int  # frames of 10 ms
    right_context: int

    @property
    def outputs(self) -> int:
        """Width of the result: the number of labels."""
        widths = [len(c.arrays[-1]) for c in self.components if c.arrays]
        return widths[-1]

    def log_likelihoods(self, features: Floats, *, every: int) -> Floats:
        """(ceil(frames / every), labels) of a whole utterance.

        Args:
            features: (frames of 10 ms, 40). As in Kaldi, the first frame stands for all that
                would lie before it, and the last one for all after it.
            every: frames from one output to the next; what is recurrent goes in these steps too.
        """
        times = self._times(np.arange(0, len(features), every))
        values = {"input": features[np.clip(times["input"], 0, len(features) - 1)]}
        by_name = {c.name: c for c in self.components}
        for component in self.components:
            if (at := times.get(component.name)) is None:
                continue  # only recurrence needs it
            parts = [
                t.scale * values[t.node][np.searchsorted(times[t.node], at + t.offset)]
                for t in component.terms
                if not t.recurrent
            ]
            joined = np.concatenate(parts, 1) if component.append else sum(parts[1:], parts[0])
            for term in component.terms:
                if term.recurrent:
                    joined = _recurrent(joined, by_name[term.node].arrays[0])
            values[component.name] = _applied(component, joined)
        return values[self.output]

    def _times(self, wanted: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
        """The frames at which each node's value is needed for those of the output."""
        times = {self.output: wanted}
        for component in reversed(self.components):
            for term in component.terms if component.name in times else ():
                if not term.recurrent:
                    needed = times[component.name] + term.offset
                    times[term.node] = np.union1d(times.get(term.node, needed), needed)
        return times


def _recurrent(values: Floats, decays: Floats) -> Floats:
    """Each row and, times ``decays``, the one before as it became."""
    out = values.copy()
    for before, row in itertools.pairwise(out):
        row += decays * before
    return out


def _applied(component: Component, x: Floats) -> Floats:
    match component.kind:
        case "affine":
            weight, bias = component.arrays
            return np.asarray(x @ weight.T + bias, np.float32)
        case "scale":
            return x * component.arrays[0]
        case "bias":
            return x + component.arrays[0]
        case "relu":
            return np.maximum(x, 0)
        case "log_softmax":
            top = x - x.max(1, keepdims=True)
            return np.asarray(top - np.log(np.exp(top).sum(1, keepdims=True)), np.float32)
        case _:
            return x


class _Reader:
    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def token(self) -> str:
        end = self.content.index(b" ", self.at)
        word = self.content[self.at : end].decode("ascii")
        self.at = end + 1
        return word

    def int32(self) -> int:
        return int(self._number("<i"))

    def real(self) -> float:
        return float(self._number("<f"))

    def _number(self, code: str) -> float:
        if self.content[self.at] != 4:
            raise ValueError(f"byte {self.at}: no number of 4 bytes")
        (value,) = struct.unpack_from(code, self.content, self.at + 1)
        self.at += 5
        return float(value)

    def _array(self, kind: str, count: int) -> npt.NDArray[np.generic]:
        out = np.frombuffer(self.content, kind, count, self.at)
        self.at += out.nbytes
        return out

    def vector(self) -> Floats:
        self._expect("FV")
        return self._array("<f4", self.int32()).astype(np.float32)

    def matrix(self) -> Floats:
        self._expect("CM2")
        low, span, rows, columns = struct.unpack_from("<ffii", self.content, self.at)
        self.at += 16
        steps = self._array("<u2", rows * columns).astype(np.float32)
        return np.asarray((low + span / 65535.0 * steps).reshape(rows, columns), np.float32)

    def _expect(self, what: str) -> None:
        found = self.token()
        if found != what:
            raise ValueError(f"byte {self.at}: {found} where {what} is due")


def read_nnet3(path: Path) -> Nnet3:
    """The network of an ``am/final.mdl``.

    Raises:
        ValueError: something in the file is not what :mod:`training.kaldi` writes.
    """
    content = path.read_bytes()
    begin, end = content.index(b"<Nnet3>"), content.index(b"<NumComponents>")
    nodes = {m[2].decode(): (m[3], m[4].decode()) for m in _NODE.finditer(content[begin:end])}
    reader = _Reader(content, end)
    reader.token()
    bodies = dict(_component(reader) for _ in range(reader.int32()))
    for word in ("</Nnet3>", "<LeftContext>"):
        if (found := reader.token()) != word:
            raise ValueError(f"{path}: {found} where {word} is due")
    left = reader.int32()
    reader.token()
    right = reader.int32()
    output = next(source for name, (_, source) in nodes.items() if name == "output")
    components = []
    for name, (component, source) in nodes.items():
        if name != "output":
            kind, arrays = bodies[(component or b"").decode()]
            terms, append = _descriptor(source)
            components.append(Component(name, kind, terms, append, arrays))
    return Nnet3(tuple(components), output, left, right)


def _component(reader: _Reader) -> tuple[str, tuple[str, tuple[Floats, ...]]]:
    reader.token()  # <ComponentName>
    name, kind = reader.token(), reader.token().strip("<>")
    if kind not in _KINDS:
        raise ValueError(f"component {name} is a {kind}, which is not known here")
    arrays: list[Floats] = []
    while (word := reader.token()) != f"</{kind}>":
        if word == "<LinearParams>":
            arrays.append(reader.matrix())
        elif word in ("<BiasParams>", "<Scales>", "<Bias>"):
            arrays.append(reader.vector())
        elif word in ("<ValueAvg>", "<DerivAvg>", "<OderivRms>"):
            reader.vector()
        else:
            reader.real()  # statistics of training: 4 bytes each, whatever they count
    return name, (_KINDS[kind], tuple(arrays))


def _descriptor(text: str) -> tuple[tuple[Term, ...], bool]:
    """``Append(Offset(a,-1),a)``, ``Sum(a,Scale(0.5,b))`` or a name."""
    if text.startswith(("Append(", "Sum(")):
        head, _, inside = text.partition("(")
        parts = re.findall(r"IfDefined\(.*?\)\)|\w+\([^()]*\)|\w+", inside[:-1])
        return tuple(_term(part) for part in parts), head == "Append"
    return (_term(text),), True


def _term(text: str) -> Term:
    if match := re.fullmatch(r"(IfDefined\()?Offset\((\w+),(-?\d+)\)\)?", text):
        return Term(match[2], offset=int(match[3]), recurrent=bool(match[1]))
    if match := re.fullmatch(r"Scale\(([-\d.e]+),(\w+)\)", text):
        return Term(match[2], scale=float(match[1]))
    if not re.fullmatch(r"\w+", text):
        raise ValueError(f"the descriptor {text} is not known here")
    return Term(text)
