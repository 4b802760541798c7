"""A sherpa-onnx model directory, looked through before sherpa-onnx loads it.

sherpa-onnx ends the whole process where a file is missing or not what it should be, which on a
server would end every call; so everything it would stumble over is looked at first, and what cannot
be seen from outside is tried in a process of its own
(:func:`ivr.asr.sherpa_engine.SherpaEngine.load`).

The kind of a model follows from the names of its files, as sherpa-onnx publishes them: ``encoder``,
``decoder`` and ``joiner`` are a transducer, without ``joiner`` a paraformer, one ``.onnx`` file
alone a CTC model. ``sherpa.json`` says what file names cannot; every key may be left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pydantic

from ivr.asr.models import MEND, check_is_directory, describe_fault, first_bytes
from ivr.errors import ModelError

__all__ = [
    "TOKENS",
    "SherpaDirectory",
    "SherpaSettings",
    "check_sense_voice",
    "check_sherpa_directory",
]

#: What a model of sherpa-onnx emits.
TOKENS: Final = "tokens.txt"

_BLANKS = frozenset({"<blk>", "<eps>", "<blank>"})
Kind = Literal["zipformer2_ctc", "wenet_ctc", "nemo_ctc", "transducer", "paraformer"]


class SherpaSettings(pydantic.BaseModel):
    """``sherpa.json`` in the model directory; without it, what sherpa-onnx's own models need."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    kind: Kind | None = None  # None: by the names of the files
    rate_hz: int = pydantic.Field(default=16_000, ge=4_000, le=192_000)
    feature_dim: int = pydantic.Field(default=80, ge=1, le=1_000)
    low_freq_hz: float = 20.0
    high_freq_hz: float = -400.0  # not above 0: from half the rate
    normalize_samples: bool = True  # -1 to 1; else the range of 16 bits
    frame_s: float = pydantic.Field(default=0.04, gt=0, le=1)  # from one output to the next
    #: audio that the model waits for before it says what was in it, s
    latency_s: float = pydantic.Field(default=0.6, ge=0, le=10)
    #: decoding graph of a CTC model (H, HL or HLG) and the words that its output labels number
    graph: str | None = None
    words: str | None = None
    max_active: int = pydantic.Field(default=3_000, ge=1)
    #: silence after the last word that ends the utterance, s
    min_trailing_silence_s: float = pydantic.Field(default=0.7, gt=0, le=60)
    #: silence put after the last audio, so that the model says all that it heard, s
    tail_padding_s: float = pydantic.Field(default=0.8, ge=0, le=10)
    threads: int = pydantic.Field(default=1, ge=1, le=256)


@dataclass(frozen=True, slots=True)
class SherpaDirectory:
    """A model directory that has what sherpa-onnx needs."""

    path: Path
    kind: Kind
    settings: SherpaSettings
    files: tuple[Path, ...]  # of the network: encoder, decoder, joiner; or the model alone
    tokens: Path
    words: tuple[str, ...] = field(default=(), repr=False)  # by number, where there is a graph

    @property
    def graph(self) -> Path | None:
        """The decoding graph, where there is one."""
        return self.path / self.settings.graph if self.settings.graph else None


def check_sherpa_directory(path: Path) -> SherpaDirectory:
    """Look through a directory with a streaming model of sherpa-onnx.

    Raises:
        ModelError: the directory or a file of it is missing, empty or not what it should be;
            the message names the file and the mend.
    """
    check_is_directory(path)
    settings = _settings(path)
    kind = settings.kind or _kind(path)
    wanted = {"transducer": ("encoder", "decoder", "joiner"), "paraformer": ("encoder", "decoder")}
    files = tuple(_network(path, name) for name in wanted.get(kind, ("",)))
    tokens = path / TOKENS
    units = _table(tokens)
    if kind.endswith("_ctc") and not _BLANKS & set(units):
        raise ModelError(f"{tokens}: none of <blk>, <eps>, <blank> is in it; {MEND}")
    words: tuple[str, ...] = ()
    if settings.graph:
        first_bytes(path / settings.graph)
        words = _table(path / (settings.words or "words.txt"))
    return SherpaDirectory(path, kind, settings, files, tokens, words)


def check_sense_voice(path: Path) -> tuple[Path, Path]:
    """The network and the tokens of a SenseVoice directory, for a second pass.

    Raises:
        ModelError: a file is missing, empty or not what it should be.
    """
    check_is_directory(path)
    tokens = path / TOKENS
    _table(tokens)
    return _network(path, ""), tokens


def _settings(path: Path) -> SherpaSettings:
    file = path / "sherpa.json"
    try:
        return SherpaSettings.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return SherpaSettings()
    except (OSError, pydantic.ValidationError) as error:
        raise ModelError(f"{file}: {describe_fault(error)}; mend it or delete it") from error


def _kind(path: Path) -> Kind:
    if _candidates(path, "encoder"):
        return "transducer" if _candidates(path, "joiner") else "paraformer"
    return "zipformer2_ctc"


def _candidates(path: Path, name: str) -> list[Path]:
    """Networks whose name begins with ``name``; in 8 bits first, which costs half the time."""
    found = sorted(path.glob(f"{name}*.onnx"))
    return sorted(found, key=lambda file: not file.name.endswith(".int8.onnx"))


def _network(path: Path, name: str) -> Path:
    found = _candidates(path, name)
    if not found:
        raise ModelError(f"{path / (name or 'model')}.onnx: missing; {MEND}")
    if not name and len({f.name.replace(".int8", "") for f in found}) > 1:
        names = ", ".join(f.name for f in found)
        raise ModelError(f"{path}: which of {names} is the model? keep one")
    first_bytes(found[0])
    return found[0]


def _table(path: Path) -> tuple[str, ...]:
    """Symbols by their numbers, one ``symbol number`` a line."""
    first_bytes(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not UTF-8 (byte {error.start}); convert it to UTF-8") from error
    numbered = dict(_entries(path, lines))
    if set(numbered) != set(range(len(numbered))):
        raise ModelError(f"{path}: the numbers do not run from 0 to {len(numbered) - 1}; {MEND}")
    return tuple(numbered[n] for n in range(len(numbered)))


def _entries(path: Path, lines: Iterable[str]) -> Iterable[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        symbol, _, index = line.rstrip().rpartition(" ")
        if not line.strip():
            continue
        if not index.isdecimal():
            raise ModelError(
                f"{path}:{number}: {line[:60]!r} is not a symbol and its number; {MEND}"
            )
        yield int(index), symbol.strip() or " "
