"""YAML read safely, with the line and column of every key and value.

The configuration files are edited by hand, by people who are not programmers. So every fault
names its place and its mend, and all faults of a file are told at once::

    config/queues.yaml:41:5: unknown key 'agent'; did you mean 'agents'?

What YAML offers beyond plain data is refused: tags (``!!python/...``), anchors and aliases (a
few of them can stand for billions of values), merge keys, several documents in one file. Keys
are always text as written, so that ``110:`` and ``on:`` are the keys ``"110"`` and ``"on"``.

A path is a tuple of keys and list indices from the root: ``("queues", 0, "agents")``.
Lines and columns count from 1, columns in characters.
"""

from __future__ import annotations

import math
import re
import typing
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from rapidfuzz import fuzz, process

from ivr.errors import ConfigError

__all__ = [
    "Fault",
    "FaultsError",
    "Place",
    "YamlPath",
    "YamlSource",
    "did_you_mean",
    "parse_yaml",
    "read_yaml",
    "refuse",
    "validate",
]

YamlPath = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_BYTES = 2 * 1024 * 1024  # a hundred times the size of a full catalogue
MAX_DEPTH = 20  # levels of nesting; the catalogue has five

_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map", "value")
}
#: Resolved by YAML 1.1 but never wanted here: kept as the text that was written.
_TEXT_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "timestamp", "value", "merge")}
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


class Place(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


START = Place(1, 1)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong in a file, and how to mend it."""

    place: Place
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.place.line}:{self.place.column}: {self.what}; {self.mend}"


class FaultsError(ConfigError):
    """All faults of one file; the message has one line a fault, in the order of the file."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        self.name = name
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(f"{name}:{fault}" for fault in self.faults))


@dataclass(frozen=True, slots=True)
class YamlSource:
    """The data of a YAML file, and where each piece of it stands."""

    name: str  # the file as named in messages
    data: Any  # dict, list, str, int, float, bool or None, nested
    values: Mapping[YamlPath, Place]  # where each value begins
    keys: Mapping[YamlPath, Place]  # where the key of each value in a mapping begins
    written: Mapping[YamlPath, str]  # each scalar as it was written, without quotation marks
    faults: tuple[Fault, ...]  # faults that do not prevent reading the rest, as duplicate keys

    def value_place(self, path: YamlPath) -> Place:
        """Where the value at ``path`` begins, or the nearest enclosing value that is there."""
        return _nearest(self.values, path)

    def key_place(self, path: YamlPath) -> Place:
        """Where the key of ``path`` begins; for a list entry or the root, where it begins."""
        return self.keys.get(path) or self.value_place(path)

    def get(self, path: YamlPath) -> Any:
        """The value at ``path``, None where there is none."""
        value = self.data
        for step in path:
            known = isinstance(value, dict) and step in value
            if not known and not (isinstance(value, list) and step in range(len(value))):
                return None
            value = value[step]
        return value

    def items(self, path: YamlPath) -> Iterator[tuple[YamlPath, Any]]:
        """The entries of the list at ``path`` with their paths; none where it is not a list."""
        value = self.get(path)
        if isinstance(value, list):
            for index, entry in enumerate(value):
                yield (*path, index), entry


def _nearest(places: Mapping[YamlPath, Place], path: YamlPath) -> Place:
    for end in range(len(path), -1, -1):
        if path[:end] in places:
            return places[path[:end]]
    return START


def read_yaml(path: Path | str) -> YamlSource:
    """Read the YAML file at ``path``; it must be UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8, or is not the plain YAML that
            :func:`parse_yaml` takes.
    """
    name = str(path)
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: there is no such file; check the name") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{name}: this is a directory; name the file in it") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: cannot be read ({error}); check its permissions") from error
    return parse_yaml(_decode(raw, name), name=name)


def _decode(raw: bytes, name: str) -> str:
    mend = "save it again as UTF-8 (in the editor: Save as, Encoding: UTF-8)"
    if raw.startswith(_WIDE_BOMS):
        raise FaultsError(name, [Fault(START, "the file is in UTF-16, not in UTF-8", mend)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", errors="replace")
        what = f"the file is {_guess_encoding(raw)}, not UTF-8"
        raise FaultsError(name, [Fault(_place_of(before), what, mend)]) from error


def _guess_encoding(raw: bytes) -> str:
    for codec, label in (("gb18030", "GBK (Chinese Windows)"), ("big5hkscs", "Big5")):
        try:
            raw.decode(codec)
        except UnicodeDecodeError:
            continue
        return f"probably {label}"
    return "damaged or not text"


def _place_of(before: str) -> Place:
    """The place right after the text ``before``."""
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


def parse_yaml(text: str, *, name: str) -> YamlSource:
    """Read YAML from ``text``; ``name`` stands for the file in messages.

    Raises:
        ConfigError: the text is empty, too long, no YAML, or uses what is refused (see the
            module). Duplicate keys and entries of a list that have swallowed the lines below
            them do not raise: they are in the ``faults`` of the result, so that
            :func:`validate` can tell them together with all others.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        what = f"the file is longer than {MAX_BYTES} characters"
        raise FaultsError(name, [Fault(START, what, "check that it is the right file")])
    lines = _LINE_BREAK.split(text)
    node = _compose(text, name, lines)
    if node is None:
        what = "the file is empty"
        mend = "fill it in, or restore it from a copy"
        raise FaultsError(name, [Fault(START, what, mend)])
    builder = _Builder(lines)
    data = builder.build(node, ())
    return YamlSource(
        name, data, builder.values, builder.keys, builder.written, tuple(builder.faults)
    )


def _compose(text: str, name: str, lines: Sequence[str]) -> yaml.Node | None:
    try:
        _check_events(text, name, lines)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        character = error.character
        shown = character if isinstance(character, int) else ord(character[:1] or "\0")
        what = f"a character that may not stand in YAML (U+{shown:04X})"
        fault = Fault(_place_of(text[: error.position]), what, "delete it")
        raise FaultsError(name, [fault]) from error
    except yaml.MarkedYAMLError as error:
        raise FaultsError(name, [_syntax_fault(error, text)]) from error
    except (ValueError, OverflowError) as error:  # PyYAML lets chr(0x110000) through
        fault = Fault(START, f"an escape that stands for no character ({error})", "delete it")
        raise FaultsError(name, [fault]) from error


def _check_events(text: str, name: str, lines: Sequence[str]) -> None:
    """Refuse by events what must not reach the composer, which recurses and follows aliases."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        fault: tuple[str, str] | None = None
        if isinstance(event, yaml.AliasEvent):
            fault = ("'*' begins an alias, which is not used here", _QUOTE)
        elif isinstance(event, yaml.NodeEvent) and event.anchor:
            fault = ("'&' begins an anchor, which is not used here", _QUOTE)
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            fault = _indentation_fault(event, lines)
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                fault = ("a second document begins here", "delete the line '---'")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                fault = (f"more than {MAX_DEPTH} levels of nesting", "check the brackets")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if fault:
            raise FaultsError(name, [Fault(_place(event.start_mark), *fault)])


def _indentation_fault(event: yaml.ScalarEvent, lines: Sequence[str]) -> tuple[str, str] | None:
    """Where a line is moved in by spaces that count as text, whatever follows is misread."""
    line, column = _place(event.start_mark)
    if not re.match(f"[{_SPACE}]", event.value) or lines[line - 1][: column - 1].strip(" "):
        return None
    what, mend = _SLIPS[0][2:]
    return what.format(code=f"U+{ord(event.value[0]):04X}"), mend


_QUOTE = 'put the text in quotation marks: "..."'

#: (part of PyYAML's problem, what, mend); the first that fits.
_SYNTAX: tuple[tuple[str, str, str], ...] = (
    ("'\\t' that cannot start", "a tab stands in the indentation", "replace it by spaces"),
    ("cannot start any token", "text begins with a sign that has a meaning in YAML", _QUOTE),
    (
        "mapping values are not allowed",
        "a ':' where no key can stand",
        "align the key with those above it, or put text that contains ': ' in quotation marks",
    ),
    (
        "could not find expected ':'",
        "a key without ':'",
        "write 'key: value', with a space, or '- ' before an entry of a list",
    ),
    (
        "expected <block end>",
        "this line does not fit the lines above",
        "align it with them (same number of spaces), or the one above it with those before",
    ),
    (
        "unexpected end of stream",
        "quotation marks that are never closed",
        "add the closing quotation mark at the end of the text",
    ),
    (
        "expected ',' or",
        "a list or group in brackets that is not closed",
        "add the comma or the closing bracket before this place",
    ),
    ("expected alphabetic or numeric", "text begins with '*', '&' or '!'", _QUOTE),
    ("found undefined tag handle", "'!' begins a tag, which is not used here", _QUOTE),
)


#: Where PyYAML counts another line.
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CLOSE = "close them at the end of the text, with the same plain sign and in the same line"
_FORGOTTEN_COLON = "could not find expected ':'"


def _syntax_fault(error: yaml.MarkedYAMLError, text: str) -> Fault:
    problem = error.problem or "this is not YAML"
    mark = error.problem_mark or error.context_mark
    place = _place(mark) if mark is not None else START
    piece = _piece_before(error, text)
    begun = _place(piece.start) if piece is not None else place
    if piece is not None and piece.quoted and piece.start.line < piece.end.line:
        what = f"quotation marks open here and are closed only in line {piece.end.line + 1}"
        return Fault(begun, what, _CLOSE)
    # A key without its colon, which the lines below it have become a part of.
    key_alone = piece is not None and piece.key_alone and "mapping values are not" in problem
    slips = _SLIPS if key_alone else (*_SLIPS, _NO_DASH)
    slip = _slip(text, begun.line, (begun.line, place.line, place.line - 1), slips)
    if slip is not None:
        return slip
    if piece is not None and piece.quoted and "expected <block end>" in problem:
        what = "text stands after the closing quotation mark"
        return Fault(place, what, "close them at the end of the text, or delete them")
    if key_alone:
        problem = _FORGOTTEN_COLON
    if problem.startswith((_FORGOTTEN_COLON, "found unexpected end of stream")):
        place = begun
    for part, what, mend in _SYNTAX:
        if part in problem:
            return Fault(place, what, mend)
    return Fault(place, f"this is not YAML ({problem})", "compare it with the lines above")


class _Piece(NamedTuple):
    """A text of a file that is no longer YAML."""

    start: yaml.Mark
    end: yaml.Mark
    quoted: bool
    key_alone: bool  # it begins like a key and reaches into the lines below


def _piece_before(error: yaml.MarkedYAMLError, text: str) -> _Piece | None:
    """The text that the error stands in, or after in the line that it ends in.

    Whoever forgets a sign makes YAML read on: the error may stand many lines below.
    """
    mark = error.problem_mark
    problem, opened = error.problem or "", error.context_mark
    if mark is None:
        return None
    if opened is not None and problem.startswith((_FORGOTTEN_COLON, "found unexpected end")):
        quoted = problem != _FORGOTTEN_COLON
        return _Piece(opened, opened, quoted, key_alone=False)
    last: yaml.Token | None = None
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if token.start_mark.index >= mark.index:
                break
            last = token
    except (yaml.YAMLError, ValueError, OverflowError):
        pass
    if not isinstance(last, yaml.ScalarToken) or last.end_mark.line != mark.line:
        return None
    start = last.start_mark
    before = _LINE_BREAK.split(text)[start.line][: start.column]
    first = not before.strip(" -") and re.match("[A-Za-z_]", last.value) is not None
    alone = first and last.plain and start.line < mark.line
    return _Piece(start, last.end_mark, not last.plain, alone)


#: Spaces that look like the plain one, and signs that look like '-'.
_SPACE = "\xa0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff"
_DASH = "\u2010-\u2015\u2022\u2212\ufe63\uff0d"
_WIDE = dict(zip("，：｛｝［］【】", (", ", ": ", *"{}[][]"), strict=True))


def _ascii_signs(line: re.Match[str]) -> str:
    return f"{line[1]}{line[2].translate(str.maketrans(_WIDE))}"


#: (a line of which group 1 is right, how the line is mended, what, mend); what and mend may name
#: the sign that follows group 1.
_Slip = tuple[str, str | Callable[[re.Match[str]], str], str, str]
_SLIPS: tuple[_Slip, ...] = (
    (
        rf"( *)[{_SPACE}].*",
        "",
        "a space that is not the plain one ({code}) stands in the indentation",
        "replace it by plain spaces, so that the line is aligned with those above",
    ),
    (
        rf"( *)[{_DASH}][ {_SPACE}]*",
        r"\1- ",
        "'{sign}' is not the '-' that begins an entry",
        "write '- ', a minus sign and a plain space",
    ),
    (
        rf"( *)-(?![ \t-]|$)[{_SPACE}]*",
        r"\1- ",
        "no plain space stands after '-'",
        "write '- ' and then the text",
    ),
    (
        rf"""( *(?:- +)?["']?[A-Za-z0-9_-]+["']? *)：[ {_SPACE}]*""",
        r"\1: ",
        "a Chinese colon '：' stands after the key",
        "write ':' and a space",
    ),
    (
        rf"( *(?:- +)?[A-Za-z_][\w-]*):(?![ \t]|$)[{_SPACE}]*",
        r"\1: ",
        "no plain space stands after ':'",
        "write 'key: value', with a space",
    ),
    (
        f"((?=.*[{{[｛［【])[^{''.join(_WIDE)}]*)([{''.join(_WIDE)}].*)",
        _ascii_signs,
        "a Chinese '{sign}' stands among the brackets",
        "write '{ascii}'",
    ),
)
_NO_DASH: _Slip = (
    r"( *)(?![ #-])",
    r"\1- ",
    "this line neither begins an entry nor goes on with the one above",
    "write '- ' before it, or align it with the lines above (same number of spaces)",
)


def _slip(text: str, begun: int, numbers: Iterable[int], slips: Sequence[_Slip]) -> Fault | None:
    """The one of ``slips`` in the lines ``numbers`` for which ``text`` is no YAML from ``begun``.

    A line is blamed only where mending it, and nothing else, brings the reader past it.
    """
    starts = [0, *(found.end() for found in _LINE_BREAK.finditer(text))]
    for number in dict.fromkeys(n for n in numbers if n >= 1):
        at = starts[number - 1]
        line = _LINE_BREAK.split(text[at : at + _LONGEST_LINE], maxsplit=1)[0]
        for pattern, mended, what, mend in slips:
            slip = re.match(pattern, line)
            if slip is None:
                continue
            repaired = slip.expand(mended) if isinstance(mended, str) else mended(slip)
            past = max(number, begun) + (pattern == _NO_DASH[0])  # to fit two lines is no accident
            if _stops_at(text[:at] + repaired + text[at + slip.end() :]) <= past:
                continue
            sign = line[slip.end(1) : slip.end(1) + 1]
            named = {"sign": sign, "code": f"U+{ord(sign or ' '):04X}"}
            named["ascii"] = _WIDE.get(sign, "").strip()
            place = Place(number, slip.end(1) + 1)
            return Fault(place, what.format(**named), mend.format(**named))
    return None


_LONGEST_LINE = 1000  # characters; a longer one is not looked into


def _stops_at(text: str) -> float:
    """The line in which what cannot be read begins; infinite where all can."""
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.MarkedYAMLError as error:
        piece = _piece_before(error, text)
        mark = piece.start if piece is not None else error.problem_mark or error.context_mark
        return mark.line + 1 if mark is not None else 0
    except (ValueError, OverflowError, yaml.YAMLError):
        return 0
    return math.inf


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _swallowed(line: str, place: Place, *, flow: bool) -> Fault:
    """The fault of a line that has become a part of the entry above it."""
    what = "this line is read as a part of the entry above"
    if flow:
        return Fault(place, what, "put a comma between the two, or write the entry in one line")
    if re.match(rf"[-{_DASH}]", line.lstrip()):
        what = "this entry is indented further than the one above, and so a part of it"
        return Fault(place, what, "align its '-' with the one above")
    return Fault(place, what, "begin it with '- ', aligned with the '-' above")


class _Builder:
    """Turns nodes into plain data and notes where everything stands."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self.values: dict[YamlPath, Place] = {}
        self.keys: dict[YamlPath, Place] = {}
        self.written: dict[YamlPath, str] = {}
        self.faults: list[Fault] = []
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: YamlPath) -> Any:
        self.values[path] = _place(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node)
            flow = bool(node.flow_style)
            entries = (one for entry in node.value for one in self._entries(entry, flow=flow))
            return [self.build(entry, (*path, at)) for at, entry in enumerate(entries)]
        return self._scalar(node, path)

    def _entries(self, node: yaml.Node, *, flow: bool) -> Iterator[yaml.Node]:
        """An entry of a list; its lines one by one where it has swallowed some, which is told."""
        start, end = node.start_mark, node.end_mark
        text = isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">")
        if not isinstance(node, yaml.ScalarNode) or not text or start.line == end.line:
            yield node
        elif node.style is not None:
            what = f"quotation marks open here and are closed only in line {end.line + 1}"
            self.faults.append(Fault(_place(start), what, _CLOSE))
            yield node
        else:
            yield from self._lines_of(node, flow=flow)

    def _lines_of(self, node: yaml.ScalarNode, *, flow: bool) -> Iterator[yaml.Node]:
        start, end = node.start_mark, node.end_mark
        told = False
        for number in range(start.line, end.line + 1):
            line = self._lines[number][: end.column if number == end.line else None]
            column = start.column if number == start.line else len(line) - len(line.lstrip())
            if number > start.line and line.strip() and not told:
                self.faults.append(_swallowed(line, Place(number + 1, column + 1), flow=flow))
                told = True
            if one := re.sub(rf"^[-{_DASH}][ {_SPACE}]*", "", line[column:]).strip():
                mark = yaml.Mark(start.name, 0, number, column, None, 0)
                yield yaml.ScalarNode(node.tag, one, mark, mark)

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Any]:
        self._check_tag(node)
        built: dict[str, Any] = {}
        listed = bool(path) and isinstance(path[-1], int) and not node.flow_style
        next_entry = False  # one begins here, but for its '- '
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            place = _place(key_node.start_mark)
            here = (*path, key)
            if key in built:
                if next_entry:
                    continue
                next_entry = listed and key == next(iter(built))
                first = self.keys[here].line
                what = f"the key {key!r} is here twice, first in line {first}"
                mend = "delete one of the two"
                if next_entry:
                    mend = f"begin a new entry with '- {key}:', or {mend}"
                self.faults.append(Fault(place, what, mend))
                continue
            self.keys[here] = place
            built[key] = self.build(value_node, here)
        return built

    def _key(self, node: yaml.Node) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:merge":
            return self._text(node)
        what = "a key must be one word"
        self.faults.append(Fault(_place(node.start_mark), what, "write 'key: value'"))
        return None

    def _scalar(self, node: yaml.Node, path: YamlPath) -> Any:
        text = self._text(node)
        self.written[path] = text
        if not self._check_tag(node) or node.tag in _TEXT_TAGS:
            return text
        try:
            return self._scalars.construct_object(node)
        except (ValueError, ArithmeticError, LookupError, yaml.YAMLError):
            what = f"{text[:40]!r} looks like a number but is none"
            self.faults.append(Fault(_place(node.start_mark), what, _QUOTE))
            return text

    def _text(self, node: yaml.Node) -> str:
        text = str(node.value)
        if any(unicodedata.category(character) in ("Cs", "Cc") for character in text.strip()):
            what = "the text contains a control character or half a character"
            mend = "write it in one line, without tabs and '\\' escapes"
            self.faults.append(Fault(_place(node.start_mark), what, mend))
            return "".join(c for c in text if unicodedata.category(c) not in ("Cs", "Cc"))
        return text

    def _check_tag(self, node: yaml.Node) -> bool:
        if node.tag in _PLAIN_TAGS or node.tag in _TEXT_TAGS:
            return True
        what = f"'!' begins a tag ({node.tag[:60]}), which is not used here"
        self.faults.append(Fault(_place(node.start_mark), what, _QUOTE))
        return False


# --- schema ---------------------------------------------------------------------------------

Check = Callable[[YamlSource], Iterable[Fault]]


def refuse(what: str, mend: str, *, at: Sequence[str | int] = ()) -> PydanticCustomError:
    """The error for a pydantic validator to raise; ``at`` is a path below the value."""
    return PydanticCustomError(
        "refused", "{what}", {"faults": [{"at": tuple(at), "what": what, "mend": mend}]}
    )


def validate(
    model: type[ModelT],
    source: YamlSource,
    *,
    checks: Sequence[Check] = (),
    context: Mapping[str, Any] | None = None,
) -> ModelT:
    """The data of ``source`` as a ``model``, whose validators see ``context``.

    ``checks`` look at the raw data for what a schema of single values cannot tell, such as
    duplicates; they run even where the schema is not met, so that one run tells all faults.

    Raises:
        ConfigError: with every fault of the file, one a line.
    """
    faults = list(source.faults)
    result: ModelT | None = None
    try:
        result = model.model_validate(source.data, context=dict(context or {}))
    except ValidationError as error:
        details = _without_misspelt(error.errors(include_url=False), model)
        for detail in details:
            faults += _schema_faults(detail, source, model)
    for check in checks:
        faults += check(source)
    if faults or result is None:
        raise FaultsError(source.name, faults)
    return result


def _without_misspelt(
    details: Sequence[ErrorDetails], model: type[BaseModel]
) -> Iterator[ErrorDetails]:
    """The errors but for missing keys that are there, misspelt: one slip is told once."""
    misspelt = {
        (*path, _nearest_word(_key_in(detail["loc"][-1])[0], _fields(model, path)))
        for detail in details
        if detail["type"] == "extra_forbidden"
        for path in [detail["loc"][:-1]]
    }
    for detail in details:
        if detail["type"] != "missing" or detail["loc"] not in misspelt:
            yield detail


def _schema_faults(
    detail: ErrorDetails, source: YamlSource, model: type[BaseModel]
) -> Iterator[Fault]:
    path = tuple(step for step in detail["loc"] if step != "[key]")
    kind = detail["type"]
    if kind == "refused":
        for fault in detail["ctx"]["faults"]:
            place = source.value_place((*path, *fault["at"]))
            yield Fault(place, fault["what"], fault["mend"])
    elif kind == "missing":
        mend = f"add {next(iter(_examples(model, path)), repr(f'{path[-1]}: ...'))}"
        yield Fault(source.key_place(path[:-1]), f"the key {path[-1]!r} is missing", mend)
    elif kind == "extra_forbidden":
        what, (key, joined) = f"unknown key {str(path[-1])!r}", _key_in(path[-1])
        mend = did_you_mean(key, _fields(model, path[:-1]))
        if joined and key in _fields(model, path[:-1]):
            mend = f"write a plain ':' and a space after {key!r}"
        yield Fault(source.key_place(path), what, mend)
    else:
        yield Fault(source.value_place(path), *_type_fault(detail, path, source, model))


def _key_in(written: str | int) -> tuple[str, bool]:
    """The key of ``cmn：社保`` or ``cmn:社保``, all of it a key to YAML; and whether it is so."""
    key, *value = re.split("[:：]", str(written), maxsplit=1)
    return key.strip(), bool(value)


def did_you_mean(word: str, known: Iterable[str], *, kind: str = "keys here") -> str:
    """'did you mean X?' where one of ``known`` is near ``word``, else the list of them."""
    choices = tuple(known)
    near = _nearest_word(word, choices)
    return f"did you mean {near!r}?" if near else f"the {kind} are {', '.join(choices)}"


def _nearest_word(word: str, known: Iterable[str]) -> str | None:
    near = process.extractOne(word, tuple(known), scorer=fuzz.ratio, score_cutoff=60)
    return str(near[0]) if near else None


_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a group of keys",
    "model_attributes_type": "a group of keys",
    "dict_type": "a group of keys",
    "tuple_type": "a list",
    "list_type": "a list",
    "path_type": "the name of a file",
}


def _type_fault(
    detail: ErrorDetails, path: YamlPath, source: YamlSource, model: type[BaseModel]
) -> tuple[str, str]:
    example, *below = _examples(model, path) or (None,)
    kind = detail["type"]
    if kind in _KINDS:
        what = f"{_KINDS[kind]} is needed here, not {_shown(path, source)}"
        if below and source.get(path) is None and not source.written.get(path):
            return what, f"write below it, two spaces further in, {' and below that '.join(below)}"
        return what, _mend(kind, path, source, example)
    message = detail["msg"].replace("Input should", "it must", 1)
    mend = f"for example {example}" if example else "correct the value"
    return f"{_shown(path, source)} is not allowed: {message}", mend


def _shown(path: YamlPath, source: YamlSource) -> str:
    value = source.get(path)
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a group of keys"
    if value is None and not source.written.get(path):
        return "nothing"
    written = source.written.get(path, "")
    shown = repr(written if len(written) <= 30 else written[:30] + "…")
    if isinstance(value, bool):
        return f"{shown} (which YAML reads as {str(value).lower()})"
    return f"the number {shown}" if isinstance(value, int | float) else shown


def _mend(kind: str, path: YamlPath, source: YamlSource, example: str | None) -> str:
    written = source.written.get(path, "")
    if kind == "string_type" and written:
        return f'put it in quotation marks: "{written[:30]}"'
    if "：" in written:
        return "write ':' and a space instead of the Chinese colon '：'"
    if source.get(path) is None and not written:
        return f"fill it in, for example {example}" if example else "fill it in"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "write its keys in the lines below, each 'key: value' and two spaces further in"
    if kind in ("tuple_type", "list_type"):
        return "write each entry in a line of its own that begins with '- '"
    return f"for example {example}" if example else "correct the value"


def _examples(model: type[BaseModel], path: YamlPath) -> tuple[str, ...]:
    """The ``examples=`` of the field at ``path``: its own line, then lines that stand below it."""
    if not path:
        return ()
    field = _fields(model, path[:-1]).get(str(path[-1]))
    return tuple(f"'{e}'" for e in field.examples or ()) if field is not None else ()


def _fields(model: type[BaseModel], path: YamlPath) -> dict[str, FieldInfo]:
    """The fields of the model that describes the mapping at ``path``; by alias where one is set."""
    here: Any = model
    for step in path:
        here = _inner(here, step)
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in here.model_fields.items()}


def _inner(kind: Any, step: str | int) -> Any:
    """The type of the entry ``step`` of a value of type ``kind``; None where unknown."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(step))
        return field.annotation if field else None
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _inner(args[0], step)
    if origin in (tuple, list) and args:
        return args[0]
    return args[1] if origin is dict and len(args) == 2 else None
