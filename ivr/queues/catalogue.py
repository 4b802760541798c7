"""The catalogue of agent queues: schema and loading of ``config/queues.yaml``.

    catalogue = load_catalogue("config/queues.yaml")
    catalogue.queue("social_security").phrases[Language.CANTONESE]

Everything is frozen and checked once, at loading. :func:`load_catalogue` tells every fault of
the file at once, each with line, column and mend; the rest of Kapok relies on what is said here
and checks nothing again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from ivr.errors import ConfigError
from ivr.intent.calibration import CALIBRATION_FILE, Calibration, read_calibration
from ivr.language import Language
from ivr.queues.hours import OpeningHours, parse_hours
from ivr.queues.phrases import HAN, OFF_TOPIC, PhraseFile, phrase_fault, read_phrases, said
from ivr.yamlsource import (
    Fault,
    FaultsError,
    YamlPath,
    YamlSource,
    did_you_mean,
    parse_yaml,
    read_yaml,
    refuse,
    validate,
)

__all__ = [
    "FEW_PHRASES",
    "Catalogue",
    "Emergency",
    "Names",
    "PersonWords",
    "Phrases",
    "Queue",
    "Thresholds",
    "load_catalogue",
    "parse_catalogue",
]

#: Below this many phrases a language, a queue is not found reliably: `ivr check` warns.
FEW_PHRASES = 25
MIN_QUEUE_PHRASES = 5
MIN_EMERGENCY_PHRASES = 3
HOT_WORD = (2, 12)  # characters
MAX_HOT_WORDS = 500

_ID = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
#: Ids that would be mistaken for a decision in reports.
_RESERVED = frozenset({"emergency", "none", "off_topic", "person", "silence"})
_DEFAULT_ZONE = "Asia/Shanghai"
_NAME_LINE: Final = "name: { cmn: 社会保障, yue: 社会保障, en: Social security }"


# --- values ---------------------------------------------------------------------------------


def _check_phrase(text: str) -> str:
    phrase = text.strip()
    fault = phrase_fault(phrase)
    if fault is not None:
        raise refuse(*fault)
    return phrase


def _check_hot_word(text: str) -> str:
    word = text.strip()
    fewest, most = HOT_WORD
    if not all(HAN.match(c) for c in word) or not fewest <= len(word) <= most:
        raise refuse(
            f"{word[:30] or 'nothing'!r} is no word of {fewest} to {most} Chinese characters",
            "write it as it is said, numbers too: 十五运会",
        )
    return word


def _check_hot_words(words: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({word for word in words if words.count(word) > 1})
    if twice:
        raise refuse(f"the word {twice[0]!r} is here twice", "delete one of them")
    return words


def _check_name(text: str) -> str:
    if not text.strip():
        raise refuse("the name is empty", "write the name in quotation marks")
    return text.strip()


def _check_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise refuse(
            f"the id {text[:40]!r} is not lower-case letters, digits and '_'",
            "write for example 'social_security'",
        )
    if text in _RESERVED:
        raise refuse(f"the id {text!r} is kept for Kapok itself", "choose another id")
    return text


def _check_key(text: str) -> str:
    if not re.fullmatch(r"[0-9*#]", text):
        raise refuse(f"{text[:10]!r} is no key of a telephone", 'write one of "0" to "9", "*", "#"')
    return text


def _check_zone(text: str) -> str:
    if _zone(text) is None:
        raise refuse(f"unknown time zone {text[:40]!r}", f"write for example {_DEFAULT_ZONE}")
    return text


def _zone(text: object) -> ZoneInfo | None:
    try:
        return ZoneInfo(text) if isinstance(text, str) else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _number(value: object) -> object:
    """110 without quotation marks means the same."""
    return str(value) if type(value) is int else value


def _hours(value: object, info: ValidationInfo) -> OpeningHours:
    if isinstance(value, OpeningHours):
        return value
    hours, faults = parse_hours(value, zone=(info.context or {}).get("zone"))
    if hours is None:
        listed = [
            {
                "at": () if fault.key is None else (fault.key,),
                "what": fault.what,
                "mend": fault.mend,
            }
            for fault in faults
        ]
        raise PydanticCustomError("refused", "opening hours", {"faults": listed})
    return hours


Phrase = Annotated[str, AfterValidator(_check_phrase)]
Name = Annotated[str, AfterValidator(_check_name)]


def _no_calibration(value: object) -> object:
    raise refuse("calibration does not stand in this file", "run `ivr train`, and delete it here")


HotWord = Annotated[str, AfterValidator(_check_hot_word)]
Whole = Annotated[int, Strict()]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]

_AIM: Final = "wrong_at_most"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*[%％]")


def _aim(value: object) -> float:
    """The share in ``{ wrong_at_most: 3% }``, which may also be written 0.03."""
    if isinstance(value, Mapping) and set(value) == {_AIM}:
        share = value[_AIM]
        written = _PERCENT.fullmatch(share.strip()) if isinstance(share, str) else None
        if written is not None:
            share = float(written[1]) / 100
        if type(share) in (int, float) and 0 <= share <= 1:
            return float(share)
    raise refuse(f"no aim for a threshold: {value!r}"[:80], f"write {{ {_AIM}: 3% }}, or a number")


def _threshold(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, Mapping):
        return value
    calibration = (info.context or {}).get("calibration") or Calibration()
    return _reached(_aim(value), calibration)


def _reached(share: float, calibration: Calibration) -> float:
    found = calibration.threshold(share)
    if found is None:
        raise refuse(
            f"no confidence keeps the wrong at {share:.1%}",
            f"allow more: at the highest confidence {calibration.wrong_above[-1]:.1%} are wrong",
        )
    return found


Threshold = Annotated[float, BeforeValidator(_threshold), Strict(), Field(ge=0, le=1)]


# --- models ---------------------------------------------------------------------------------


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Names(_Model):
    """What the queue is called: in Mandarin, in Cantonese and in English."""

    cmn: Name = Field(examples=["cmn: 社会保障"])
    yue: Name = Field(examples=["yue: 社会保障"])
    en: Name = Field(examples=["en: Social security"])

    def __getitem__(self, language: Language | str) -> str:
        """The name in a spoken language."""
        return self.cmn if Language(language) is Language.MANDARIN else self.yue


class Phrases(_Model):
    """Example phrases by language, in simplified characters: a mapping that cannot change."""

    cmn: tuple[Phrase, ...] = Field(examples=["cmn:", "- 我想查一下社保"])
    yue: tuple[Phrase, ...] = Field(examples=["yue:", "- 我想查吓社保"])

    def __getitem__(self, language: Language | str) -> tuple[str, ...]:
        return self.cmn if Language(language) is Language.MANDARIN else self.yue

    def items(self) -> Iterator[tuple[Language, tuple[str, ...]]]:
        """Each language with its phrases."""
        return ((language, self[language]) for language in Language)

    def values(self) -> tuple[tuple[str, ...], ...]:
        """The phrases of each language, in the order of :meth:`items`."""
        return tuple(self[language] for language in Language)


class Queue(_Model):
    """A group of agents that answers one kind of call."""

    id: Annotated[str, AfterValidator(_check_id)] = Field(examples=["id: social_security"])
    name: Names = Field(examples=[_NAME_LINE])
    phrases: Phrases = Field(examples=["phrases:", "cmn:", "- 我想查一下社保"])
    agents: Whole = Field(ge=1, le=10_000, examples=["agents: 12"])
    hours: Annotated[OpeningHours, PlainValidator(_hours), PlainSerializer(str)] = Field(
        examples=["hours: 24x7"]
    )
    priority: Whole = Field(default=5, ge=1, le=9, examples=["priority: 5"])  # 1 is served first


class Emergency(_Model):
    """A kind of emergency that is handed to a national number at once."""

    number: Annotated[Literal["110", "119", "120", "122"], BeforeValidator(_number)] = Field(
        examples=['number: "110"']
    )
    name: Names = Field(examples=[_NAME_LINE])
    phrases: Phrases = Field(examples=["phrases:", "cmn:", "- 我想查一下社保"])


class PersonWords(_Model):
    """The words, and the key of the telephone, that always reach a person."""

    key: Annotated[str, AfterValidator(_check_key)] = Field(examples=['key: "0"'])
    phrases: Phrases = Field(examples=["phrases:", "cmn:", "- 我想查一下社保"])


class Thresholds(_Model):
    """Confidence from which a queue is routed to, or confirmed with the caller.

    In the file either may be the aim instead, ``{ wrong_at_most: 3% }``: the lowest confidence
    from which no more than that go wrong, by the calibration's curve.
    """

    route: Threshold = Field(default=0.75, examples=["route: 0.75"])
    confirm: Threshold = Field(default=0.45, examples=["confirm: 0.45"])


class Catalogue(_Model):
    """All of ``config/queues.yaml``."""

    default_queue: str = Field(examples=["default_queue: general"])
    timezone: Annotated[str, AfterValidator(_check_zone)] = _DEFAULT_ZONE
    thresholds: Thresholds = Thresholds()
    person: PersonWords = Field(examples=["person:", 'key: "0"'])
    #: More phrases, one file a queue, in this folder beside the file; see ivr.queues.phrases.
    phrase_folder: str | None = Field(default=None, examples=["phrase_folder: phrases"])
    #: Words that the speech models are to know from now on; see ivr.asr.hot_words.
    hot_words: Annotated[tuple[HotWord, ...], AfterValidator(_check_hot_words)] = Field(
        default=(), max_length=MAX_HOT_WORDS, examples=["hot_words: [十五运会, 穗好办]"]
    )
    #: How the matcher weighs its evidence, from calibration.json beside the file; see `ivr train`.
    calibration: Annotated[Calibration | None, BeforeValidator(_no_calibration)] = None
    off_topic: Phrases = Phrases(cmn=(), yue=())  # what no queue answers
    emergencies: tuple[Emergency, ...] = ()
    queues: tuple[Queue, ...] = Field(examples=["queues:", "- id: social_security"])

    def queue(self, queue_id: str) -> Queue:
        """The queue of that id; raises KeyError where there is none."""
        for queue in self.queues:
            if queue.id == queue_id:
                return queue
        raise KeyError(queue_id)

    def emergency(self, number: str) -> Emergency:
        """The emergency of that number; raises KeyError where there is none."""
        for emergency in self.emergencies:
            if emergency.number == number:
                return emergency
        raise KeyError(number)

    @property
    def queue_ids(self) -> tuple[str, ...]:
        """The ids in the order of the file."""
        return tuple(queue.id for queue in self.queues)

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but will make routing worse, one sentence each."""
        return tuple(_warnings(self))


def _warnings(catalogue: Catalogue) -> Iterator[str]:
    for queue in catalogue.queues:
        for language, phrases in queue.phrases.items():
            if len(phrases) < FEW_PHRASES:
                yield (
                    f"queue {queue.id} has {len(phrases)} phrases in {language}; "
                    f"write at least {FEW_PHRASES}, as callers really say it"
                )
    default = catalogue.queue(catalogue.default_queue)
    if not default.hours.always:
        yield (
            f"the default queue {default.id} is not open at all times ({default.hours}); "
            "calls that fit no queue have nowhere to go while it is closed"
        )
    missing = sorted({"110", "119", "120", "122"} - {e.number for e in catalogue.emergencies})
    if missing:
        yield f"no emergency phrases for {', '.join(missing)}; add them under emergencies"
    yield from _same_names(catalogue)


def _same_names(catalogue: Catalogue) -> Iterator[str]:
    """Queues that are called alike, so that a caller is asked the same of both."""
    for at, queue in enumerate(catalogue.queues):
        for other in catalogue.queues[:at]:
            alike = [
                f"{shown} ({name})"
                for shown, name in queue.name.model_dump().items()
                if said(name) == said(other.name.model_dump()[shown])
            ]
            if alike:
                yield (
                    f"queues {other.id} and {queue.id} have the same name in {', '.join(alike)}; "
                    "give each a name of its own, or nobody who is asked by it can tell them apart"
                )


# --- loading --------------------------------------------------------------------------------


def load_catalogue(path: Path | str) -> Catalogue:
    """The catalogue in the file at ``path``.

    Phrases of its ``phrase_folder`` are among those of the queues; ``calibration.json`` beside it,
    which ``ivr train`` writes, is taken up.

    Raises:
        ConfigError: every fault of the file, one a line:
            ``file:line:column: what is wrong; how to mend it``.
    """
    calibration = read_calibration(Path(path).parent / CALIBRATION_FILE)
    source = read_yaml(path)
    files: dict[str, PhraseFile] | None = None
    refused: ConfigError | None = None
    try:
        files = _phrase_files(source, Path(path).parent)
    except ConfigError as error:
        refused = error
    catalogue = _catalogue(source, calibration, files)  # its own faults are told first
    if refused is not None:
        raise refused
    if calibration is not None:
        catalogue = catalogue.model_copy(update={"calibration": calibration})
    return _with_files(catalogue, files, source) if files else catalogue


def _phrase_files(source: YamlSource, beside: Path) -> dict[str, PhraseFile]:
    """The files of the ``phrase_folder``, by queue; none where none is named."""
    folder = source.get(("phrase_folder",))
    if not isinstance(folder, str):
        return {}
    ids = [str(source.get((*path, "id"))) for path, _ in source.items(("queues",))]
    return read_phrases(beside / folder, (*ids, OFF_TOPIC))


def _with_files(
    catalogue: Catalogue, files: Mapping[str, PhraseFile], source: YamlSource
) -> Catalogue:
    """The catalogue with the phrases of ``files``, none of which may lead elsewhere as well."""
    leads: dict[str, tuple[str, str]] = {}  # to whom, and where that is said
    for owner, _, path in _phrase_lists(source):
        for entry, phrase in source.items(path):
            there = f"{source.name}:{source.value_place(entry).line}"
            leads.setdefault(said(phrase), (owner, there))
    for queue, file in files.items():
        owner, faults = queue if queue == OFF_TOPIC else f"queue {queue}", []
        for line in file.lines:
            here = owner, f"{file.name}:{line.place.line}"
            known, where = leads.setdefault(said(line.text), here)
            if known != owner:
                what = f"the phrase {line.text!r} leads to {owner} and to {known} ({where})"
                faults.append(Fault(line.place, what, "delete it in one of the two places"))
        if faults:
            raise FaultsError(file.name, faults)

    def more(phrases: Phrases, owner: str) -> Phrases:
        if owner not in files:
            return phrases
        joined = {k: dict.fromkeys((*phrases[k], *files[owner].of(k))) for k in Language}
        return Phrases(**{k.value: tuple(v) for k, v in joined.items()})

    queues = tuple(
        q.model_copy(update={"phrases": more(q.phrases, q.id)}) for q in catalogue.queues
    )
    off_topic = more(catalogue.off_topic, OFF_TOPIC)
    return catalogue.model_copy(update={"queues": queues, "off_topic": off_topic})


def parse_catalogue(text: str, name: str = "queues.yaml") -> Catalogue:
    """The catalogue in ``text``; ``name`` stands for the file in messages.

    Raises:
        ConfigError: as :func:`load_catalogue`.
    """
    return _catalogue(parse_yaml(text, name=name), None, {})


def _catalogue(
    source: YamlSource,
    calibration: Calibration | None,
    files: Mapping[str, PhraseFile] | None,
) -> Catalogue:
    """The catalogue in ``source``; ``files`` hold more phrases, None: they cannot be read."""
    context = {
        "zone": _zone(source.get(("timezone",))) or ZoneInfo(_DEFAULT_ZONE),
        "calibration": calibration,
    }
    checks = (
        _duplicate_ids,
        _duplicate_numbers,
        _unknown_default,
        functools.partial(_threshold_order, calibration=calibration),
        functools.partial(_few_phrases, files=files),
        _duplicate_phrases,
    )
    return validate(Catalogue, source, checks=checks, context=context)


def _duplicates(source: YamlSource, listed: str, key: str) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for path, _ in source.items((listed,)):
        value = source.get((*path, key))
        if not isinstance(value, str | int):
            continue
        place = source.value_place((*path, key))
        if str(value) in first:
            what = f"the {key} {str(value)!r} is here twice, first in line {first[str(value)]}"
            yield Fault(place, what, f"give one of the two another {key}, or delete it")
        first.setdefault(str(value), place.line)


def _duplicate_ids(source: YamlSource) -> Iterator[Fault]:
    return _duplicates(source, "queues", "id")


def _duplicate_numbers(source: YamlSource) -> Iterator[Fault]:
    return _duplicates(source, "emergencies", "number")


def _unknown_default(source: YamlSource) -> Iterator[Fault]:
    default = source.get(("default_queue",))
    ids = [str(source.get((*path, "id"))) for path, _ in source.items(("queues",))]
    if isinstance(default, str) and default not in ids:
        what = f"there is no queue {default!r}"
        mend = did_you_mean(default, ids, kind="ids of the queues")
        yield Fault(source.value_place(("default_queue",)), what, mend)


def _threshold_order(source: YamlSource, *, calibration: Calibration | None) -> Iterator[Fault]:
    given = source.get(("thresholds",))
    merged: Mapping[str, Any] = Thresholds().model_dump() | (
        given if isinstance(given, dict) else {}
    )
    try:
        context = {"calibration": calibration}
        chosen = Thresholds.model_validate(merged, context=context)
    except ValidationError:
        return  # told by the schema
    if chosen.confirm > chosen.route:
        what = f"confirm ({chosen.confirm}) is above route ({chosen.route})"
        place = source.value_place(("thresholds", "confirm"))
        yield Fault(place, what, "write a smaller number for confirm")


def _phrase_lists(source: YamlSource) -> Iterator[tuple[str, int, YamlPath]]:
    """Each list of phrases: its owner in words, the fewest phrases allowed, its path."""
    owners: list[tuple[str, int, YamlPath]] = [("person", 1, ("person",))]
    for path, _ in source.items(("emergencies",)):
        number = source.get((*path, "number"))
        owners.append((f"emergency {number}", MIN_EMERGENCY_PHRASES, path))
    for path, _ in source.items(("queues",)):
        owners.append((f"queue {source.get((*path, 'id'))}", MIN_QUEUE_PHRASES, path))
    for owner, fewest, path in owners:
        for language in Language:
            yield owner, fewest, (*path, "phrases", language.value)


def _few_phrases(source: YamlSource, *, files: Mapping[str, PhraseFile] | None) -> Iterator[Fault]:
    folder = source.get(("phrase_folder",))
    for owner, fewest, path in _phrase_lists(source):
        phrases = source.get(path)
        if not isinstance(phrases, list):
            continue
        mend = f"write at least {fewest}"
        count = len(phrases)
        if path[0] == "queues" and isinstance(folder, str):
            if files is None:
                continue
            queue = str(source.get((*path[:2], "id")))
            if queue in files:
                more = files[queue].of(Language(str(path[-1])))
                count += sum(phrase not in phrases for phrase in more)
            mend += f", here or in {folder}/{queue}.txt"
        if count < fewest:
            what = f"{owner} has too few phrases in {path[-1]}: {count}"
            yield Fault(source.key_place(path), what, mend)


def _duplicate_phrases(source: YamlSource) -> Iterator[Fault]:
    """The same words twice in one list, or in two places that lead elsewhere.

    Both languages of one queue may share a phrase: much is written alike in both.
    """
    first: dict[str, tuple[YamlPath, str]] = {}
    for owner, _, path in _phrase_lists(source):
        seen: dict[str, int] = {}
        for entry, phrase in source.items(path):
            words = said(phrase) if isinstance(phrase, str) else ""
            if not words:
                continue
            place = source.value_place(entry)
            known_path, known_owner = first.setdefault(words, (entry, owner))
            known_line = source.value_place(known_path).line
            if words in seen:
                what = f"the phrase {phrase!r} is here twice, first in line {seen[words]}"
                yield Fault(place, what, "delete one of the two")
            elif known_path[:-3] != entry[:-3]:
                what = (
                    f"the phrase {phrase!r} leads to {owner} (line {place.line}) "
                    f"and to {known_owner} (line {known_line})"
                )
                yield Fault(place, what, "delete it in one of the two places")
            seen.setdefault(words, place.line)
