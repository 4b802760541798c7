"""Kaldi's ``final.mdl`` read back: the nnet3 network that :mod:`training.kaldi` wrote.

Only what this project writes is understood: fixed affine, scale and bias components, ReLU, no-op
and log-softmax, and the descriptors ``Append``, ``Offset``, ``Sum`` and ``Scale`` of one level, and
``IfDefined(Offset(...))``, which is how a node reads what a later one made of an earlier frame.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["QUARTILE_STEPS", "Component", "Nnet3", "Stream", "Term", "read_nnet3"]

Floats = npt.NDArray[np.float32]
_NODE = re.compile(rb"^(component|output)-node name=(\S+) (?:component=(\S+) )?input=(\S+)", re.M)
#: Of the 256 steps of a weight: those of its column's least, its quartiles and its greatest.
QUARTILE_STEPS = (0, 64, 192, 255)
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
class _Reach:
    """Which frames of a node the outputs of a stretch of time need."""

    first: int  # from so many frames of 10 ms after the first output's
    last: int  # to so many after the last output's
    step: int


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
        """(ceil(frames / every), labels) of a whole utterance; arguments as of :class:`Stream`."""
        stream = Stream(self, every=every)
        return stream.accept(features, last=True)


class Stream:
    """A network along one utterance, as its features come.

    Args:
        network: the network.
        every: frames of 10 ms from one output to the next; what is recurrent goes in these steps
            too.

    As in Kaldi, the first frame stands for all that would lie before it, and the last one for all
    after it.
    """

    def __init__(self, network: Nnet3, *, every: int) -> None:
        self._network = network
        self._every = every
        self._reach = _reach(network, every)
        self._frames = self._done = 0  # frames that came, outputs that are known
        #: of each node, what is known and still needed, and the frame of its first row
        self._known: dict[str, tuple[int, Floats]] = {}
        #: who reads each node, and how many frames later
        self._readers: dict[str, list[tuple[str, int]]] = {node: [] for node in self._reach}
        for component in network.components:
            for term in component.terms if component.name in self._reach else ():
                if not term.recurrent:
                    self._readers[term.node].append((component.name, term.offset))
        #: of the nodes that read what they were, by how much of it
        self._decays = _decays(network)

    def accept(self, features: Floats, *, last: bool = False) -> Floats:
        """(outputs, labels): those that can be told now, all that are left with the ``last``.

        ``features``: (frames of 10 ms, 40), those after what came before.
        """
        self._take_in(features)
        hidden = 0 if last else self._network.right_context
        count = max(0, -(-(self._frames - hidden) // self._every) - self._done)
        if not count:
            return np.zeros((0, self._network.outputs), np.float32)
        begin = self._every * self._done
        end = begin + self._every * (count - 1)
        if (missing := end + self._network.right_context + 1 - self._frames) > 0:
            at, rows = self._known["input"]
            self._known["input"] = at, np.concatenate([rows, np.repeat(rows[-1:], missing, 0)])
        for component in self._network.components:
            if component.name in self._reach:
                self._compute(component, begin, end)
        self._done += count
        _, told = self._known[self._network.output]
        self._forget()
        return told

    def _forget(self) -> None:
        """Keep of each node what those that read it have still to read."""
        to_come = {
            node: at + len(rows) * self._reach[node].step
            for node, (at, rows) in self._known.items()
        }
        for node, (at, rows) in self._known.items():
            needed = min(
                (to_come[reader] + offset for reader, offset in self._readers[node]),
                default=to_come[node],
            )
            unneeded = min(max(0, (needed - at) // self._reach[node].step), len(rows))
            if node in self._decays:
                unneeded = min(unneeded, len(rows) - 1)
            self._known[node] = at + unneeded * self._reach[node].step, rows[unneeded:].copy()

    def _take_in(self, features: Floats) -> None:
        if not len(features):
            return
        if "input" not in self._known:
            first = self._reach["input"].first
            self._known["input"] = first, np.repeat(features[:1], -first, 0)
        at, rows = self._known["input"]
        self._known["input"] = at, np.concatenate([rows, features])
        self._frames += len(features)

    def _compute(self, component: Component, begin: int, end: int) -> None:
        """The rows of a node up to what the output at ``end`` needs."""
        reach = self._reach[component.name]
        at, known = self._known.get(component.name, (begin + reach.first, None))
        begin = at if known is None else at + len(known) * reach.step
        count = (end + reach.last - begin) // reach.step + 1
        if count <= 0:
            return
        parts = [
            self._read(term, begin, reach.step, count)
            for term in component.terms
            if not term.recurrent
        ]
        if len(parts) == 1:
            joined = parts[0]
        else:
            joined = np.concatenate(parts, 1) if component.append else sum(parts[1:], parts[0])
        if (decays := self._decays.get(component.name)) is not None:
            joined = _recurrent(joined, decays, None if known is None else known[-1])
        value = _applied(component, joined)
        if known is not None and len(known):
            value = np.concatenate([known, value])
        self._known[component.name] = at, value

    def _read(self, term: Term, begin: int, step: int, count: int) -> Floats:
        """``count`` rows of a node from ``begin`` on, as a term has them."""
        at, rows = self._known[term.node]
        its = self._reach[term.node].step
        first, stride = (begin + term.offset - at) // its, step // its
        read = rows[first : first + (count - 1) * stride + 1 : stride]
        return read if term.scale == 1.0 else np.float32(term.scale) * read


def _reach(network: Nnet3, every: int) -> dict[str, _Reach]:
    """Of the output and all that it needs, but for recurrence."""
    found = {network.output: _Reach(0, 0, every)}
    for component in reversed(network.components):
        reach = found.get(component.name)
        for term in component.terms if reach else ():
            if reach is None or term.recurrent:
                continue
            first, last = reach.first + term.offset, reach.last + term.offset
            before = found.get(term.node)
            if before is None:
                found[term.node] = _Reach(first, last, reach.step)
            else:
                step = math.gcd(before.step, reach.step, first - before.first)
                first, last = min(first, before.first), max(last, before.last)
                found[term.node] = _Reach(first, last, step)
    return found


def _decays(network: Nnet3) -> dict[str, Floats]:
    scales = {c.name: c.arrays[0] for c in network.components if c.kind == "scale"}
    return {
        c.name: scales[term.node] for c in network.components for term in c.terms if term.recurrent
    }


def _recurrent(values: Floats, decays: Floats, before: Floats | None) -> Floats:
    """Each row and, times ``decays``, the one before as it became."""
    out = values.copy()
    for row in out:
        if before is not None:
            row += decays * before
        before = row
    return out


def _applied(component: Component, x: Floats) -> Floats:
    match component.kind:
        case "affine":
            weight, bias = component.arrays
            out: Floats = x @ weight.T
            out += bias
            return out
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


def _of_quartiles(coded: npt.NDArray[np.generic], quartiles: npt.NDArray[np.generic]) -> Floats:
    """(columns, rows) bytes, between the (columns, 4) edges of each column, as values."""
    every = np.arange(256)
    of_byte = np.stack([np.interp(every, QUARTILE_STEPS, edges) for edges in quartiles])
    return np.take_along_axis(of_byte, coded.astype(np.intp), 1).astype(np.float32)


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
        """In 8 bits an entry, or in 16, as before (Kaldi's ``matrix/compressed-matrix.cc``)."""
        kind = self.token()
        if kind not in ("CM", "CM2"):
            raise ValueError(f"byte {self.at}: {kind} where CM or CM2 is due")
        low, span, rows, columns = struct.unpack_from("<ffii", self.content, self.at)
        self.at += 16
        step = span / 65535.0
        if kind == "CM2":
            values = low + step * self._array("<u2", rows * columns).astype(np.float32)
            values = values.reshape(rows, columns)
        else:
            quartiles = low + step * self._array("<u2", 4 * columns).reshape(columns, 4)
            coded = self._array("u1", rows * columns).reshape(columns, rows)
            values = _of_quartiles(coded, quartiles).T
        return np.asarray(values, np.float32, order="F")  # products with its transpose take 3/4

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
