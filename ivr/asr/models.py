"""A Vosk model directory, looked through before Vosk loads it, and the card of any model.

A Vosk model is a directory. Two layouts exist (``Model::Model`` of vosk-api 0.3.45): the present
one with ``am/``, ``conf/`` and ``graph/``, and the old flat one. Kaldi meets a file that is missing
or cut off with a stack of messages, and some faults it meets with ``abort()``, which would end
every call of the process; so :func:`check_vosk_directory` looks before Vosk does.

A model of our own has a card beside it, ``model.json``; official models have none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from ivr.errors import ModelError
from ivr.language import Language

__all__ = [
    "MEND",
    "ModelCard",
    "VoskDirectory",
    "check_is_directory",
    "check_vosk_directory",
    "describe_fault",
    "first_bytes",
    "model_id",
    "read_card",
    "read_options",
    "read_units",
]

#: What helps where a model is not whole.
MEND = "copy the whole model directory again, or name another one in config/kapok.yaml"
_LFS = b"version https://git-lfs"
#: First bytes of every OpenFst file, and the header flag "an output symbol table follows".
_FST_MAGIC, _HAS_OUTPUT_SYMBOLS = 2125659606, 0x2
#: MfccOptions of Kaldi: the rate where the configuration names none.
_KALDI_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the files of a layout lie, relative to the model directory."""

    acoustic: str
    features: tuple[str, ...]  # one of them
    decoding: str | None
    graph: str  # the directory of the graphs, "" for the model directory itself
    word_boundaries: str


_PRESENT = _Layout(
    acoustic="am/final.mdl",
    features=("conf/mfcc.conf", "conf/fbank.conf"),
    decoding="conf/model.conf",
    graph="graph/",
    word_boundaries="graph/phones/word_boundary.int",
)
_FLAT = _Layout(
    acoustic="final.mdl",
    features=("mfcc.conf", "fbank.conf"),
    decoding=None,
    graph="",
    word_boundaries="word_boundary.int",
)

#: A file that switches a feature on -> the files it then needs.
_COMPANIONS = {
    "ivector/final.ie": (
        "ivector/splice.conf",
        "ivector/online_cmvn.conf",
        "ivector/final.mat",
        "ivector/global_cmvn.stats",
        "ivector/final.dubm",
    ),
    "rescore/G.carpa": ("rescore/G.fst",),
    "rnnlm/final.raw": (
        "rnnlm/word_feats.txt",
        "rnnlm/feat_embedding.final.mat",
        "rnnlm/special_symbol_opts.conf",
    ),
}


@dataclass(frozen=True, slots=True)
class VoskDirectory:
    """A model directory that has what Vosk needs."""

    path: Path
    rate_hz: int  # native sample rate of the features
    word_boundaries: bool  # word times are exact; without them they are approximate
    runtime_grammar: bool  # HCLr + Gr: the vocabulary can be changed at run time


def check_vosk_directory(path: Path) -> VoskDirectory:
    """Look through a Vosk model directory without loading it.

    Raises:
        ModelError: the directory or a file of it is missing, empty or not what it should be;
            the message names the file and the mend.
    """
    check_is_directory(path)
    layout = _layout(path)
    _check_acoustic_model(path / layout.acoustic)
    features = _one_of(path, layout.features)
    if layout.decoding:
        _check_decoding(path / layout.decoding)
    static = _check_graph(path, layout.graph)
    for trigger, companions in _COMPANIONS.items():
        if (path / trigger).exists():
            for name in companions:
                first_bytes(path / name, because=f"{trigger} needs it")
    return VoskDirectory(
        path=path,
        rate_hz=_rate_hz(features),
        word_boundaries=(path / layout.word_boundaries).exists(),
        runtime_grammar=not static,
    )


def check_is_directory(path: Path) -> None:
    """Raise ModelError where there is no such directory."""
    if not path.exists():
        raise ModelError(f"{path}: there is no such model directory; {MEND}")
    if not path.is_dir():
        raise ModelError(f"{path}: this is a file; unpack it and name the directory")


def _layout(path: Path) -> _Layout:
    for layout in (_PRESENT, _FLAT):
        if (path / layout.acoustic).exists():
            return layout
    for inner in sorted(path.iterdir()):
        if (inner / _PRESENT.acoustic).exists() or (inner / _FLAT.acoustic).exists():
            raise ModelError(f"{path}: the model lies one level deeper; name {inner} instead")
    raise ModelError(f"{path / _PRESENT.acoustic}: missing; {MEND}")


def first_bytes(path: Path, *, size: int = 512, because: str = "") -> bytes:
    """The first bytes of a file of a model.

    Raises:
        ModelError: it is not there, empty, or only a pointer to it is; ``because`` says who asks.
    """
    reason = f" ({because})" if because else ""
    try:
        with path.open("rb") as stream:
            head = stream.read(size)
    except FileNotFoundError:
        raise ModelError(f"{path}: missing{reason}; {MEND}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}){reason}; {MEND}") from error
    if not head:
        raise ModelError(f"{path}: the file is empty{reason}; {MEND}")
    if head.startswith(_LFS):
        raise ModelError(f"{path}: only a Git LFS pointer is here; run `git lfs pull`")
    return head


def _check_acoustic_model(path: Path) -> None:
    head = first_bytes(path)
    if not head.removeprefix(b"\0B").lstrip().startswith(b"<TransitionModel>"):
        raise ModelError(f"{path}: this is not a Kaldi acoustic model; {MEND}")


def _one_of(path: Path, names: Iterable[str]) -> Path:
    first, *others = (path / name for name in names)
    return next((other for other in others if other.exists() and not first.exists()), first)


def read_options(path: Path) -> dict[str, str]:
    """Options of a Kaldi configuration file: ``--name=value`` a line, ``#`` for comments.

    Raises:
        ModelError: the file is missing or empty, or a line is something else.
    """
    first_bytes(path)
    options: dict[str, str] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        name, equals, value = line.partition("=")
        if not (name.startswith("--") and equals and value):
            raise ModelError(f"{path}:{number}: {line[:60]!r} is not --name=value; {MEND}")
        options[name[2:]] = value.strip()
    return options


def _rate_hz(features: Path) -> int:
    value = read_options(features).get("sample-frequency", str(_KALDI_RATE_HZ))
    try:
        rate_hz = int(float(value))
    except (ValueError, OverflowError):
        rate_hz = 0
    if not 4_000 <= rate_hz <= 192_000:
        raise ModelError(f"{features}: --sample-frequency={value} is no rate of speech; use 8000")
    return rate_hz


def _check_decoding(path: Path) -> None:
    if "endpoint.silence-phones" not in read_options(
        path
    ):  # Kaldi aborts at the first endpoint test
        raise ModelError(
            f"{path}: --endpoint.silence-phones is missing; add the ids of the silence phones, "
            "for a CTC model --endpoint.silence-phones=1"
        )


def _check_graph(path: Path, graph: str) -> bool:
    """True for one static graph, False for lookahead graphs composed at run time."""
    static = (path / f"{graph}HCLG.fst").exists()
    if static:
        symbols = _has_output_symbols(path / f"{graph}HCLG.fst")
    elif (path / f"{graph}HCLr.fst").exists():
        _has_output_symbols(path / f"{graph}HCLr.fst")
        symbols = _has_output_symbols(path / f"{graph}Gr.fst")
        first_bytes(path / f"{graph}disambig_tid.int")
    else:
        raise ModelError(f"{path / graph}/HCLG.fst (or HCLr.fst and Gr.fst): missing; {MEND}")
    if not symbols:
        _check_words(path / f"{graph}words.txt")
    return static


def _has_output_symbols(path: Path) -> bool:
    """Whether an OpenFst file holds its words itself.

    The header is: magic, fst type, arc type, version, flags.
    """
    head = first_bytes(path)
    try:
        (magic,) = struct.unpack_from("<i", head, 0)
        at = 4
        for _ in ("fst type", "arc type"):
            (length,) = struct.unpack_from("<i", head, at)
            at += 4 + max(0, length)
        _version, flags = struct.unpack_from("<ii", head, at)
    except struct.error:
        magic, flags = 0, 0
    if magic != _FST_MAGIC:
        raise ModelError(f"{path}: this is not an OpenFst graph, or it is cut off; {MEND}")
    return bool(flags & _HAS_OUTPUT_SYMBOLS)


def _check_words(path: Path) -> None:
    text = _read_text(path, because="the graph holds no words of its own")
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if fields and not (len(fields) == 2 and fields[1].isdecimal()):
            raise ModelError(f"{path}:{number}: {line[:60]!r} is not a word and its number; {MEND}")


def read_units(path: Path) -> tuple[str, ...]:
    """The labels of the network of one of Kapok's models, by number; ``path`` is its directory.

    Raises:
        ModelError: ``units.txt`` is missing, empty, or not UTF-8.
    """
    return tuple(_read_text(path / "units.txt").split())


def _read_text(path: Path, *, because: str = "") -> str:
    first_bytes(path, because=because)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not UTF-8 (byte {error.start}); {MEND}") from error


class ModelCard(pydantic.BaseModel):
    """``model.json`` inside a model directory; every key may be left out."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    name: str | None = None
    language: Language | None = None
    version: str | None = None
    source: str | None = None
    licence: str | None = None
    rate_hz: int | None = None
    trained: str | dict[str, Any] | None = None  # how: in words, or figures by name
    parameters: int | None = None
    units: int | None = None  # acoustic units, the blank among them
    words: int | None = None  # vocabulary
    #: test set -> measure -> value, for example {"dev": {"base_syllable_error": 0.31}}
    accuracy: dict[str, dict[str, float]] = pydantic.Field(default_factory=dict)


def read_card(path: Path) -> ModelCard:
    """The card of a model directory; an empty one where there is no ``model.json``.

    Raises:
        ModelError: the card is there but cannot be read.
    """
    file = path / "model.json"
    try:
        return ModelCard.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return ModelCard()
    except (OSError, pydantic.ValidationError) as error:
        raise ModelError(f"{file}: {describe_fault(error)}; mend it or delete it") from error


def model_id(path: Path) -> str:
    """Which model lies in a directory: name and version of its card, or else its own name."""
    card = read_card(path)
    return " ".join(part for part in (card.name or path.resolve().name, card.version) if part)


def describe_fault(error: OSError | pydantic.ValidationError) -> str:
    """Why a JSON file of the models cannot be used: the key and what is wrong with it."""
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
