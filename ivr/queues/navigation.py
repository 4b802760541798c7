"""The navigation file: what speech navigation does to callers, measured from audio.

``ivr replay RECORDINGS --expect labels.csv --navigation FILE`` writes it, and so does ``ivr eval``
(which streams nothing, hence measures no seconds); scenarios of the simulator read it, so that
misroutes and seconds are never typed in.

For each need (the queue that is right) it holds how often the *first* utterance was routed or
confirmed to each queue, asked again, handed to a person or taken for an emergency; and how long
callers speak, how long they wait for the decision (in the audio streamed, so that a busy machine
does not count), and how long the recorded prompts are.
:func:`dialogue_paths` follows a whole dialogue from these counts by the limits of
:class:`ivr.call.session.CallSession`: a wrong question is denied, what is not understood is asked
again, and after so many a person takes the call.

What a first utterance cannot tell is assumed, and said where it is used: how often a second try is
understood (``retries_understood``), and that callers answer a question truly within
:data:`ANSWER_S`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, Strict

from ivr.call.prompt_audio import PromptAudio
from ivr.call.prompts import load_prompts
from ivr.errors import ConfigError
from ivr.intent.types import Decision
from ivr.language import Language
from ivr.queues.catalogue import Catalogue
from ivr.yamlsource import Fault, YamlSource, parse_yaml, read_yaml, validate

__all__ = [
    "ANSWER_S",
    "VERSION",
    "DialoguePath",
    "MeasuredOn",
    "Navigation",
    "NeedCounts",
    "Observation",
    "PromptSeconds",
    "SpeechSeconds",
    "dialogue_paths",
    "load_navigation",
    "measure_navigation",
    "parse_navigation",
    "write_navigation",
]

VERSION: Final = 1
#: How long a caller takes to say yes or no, s: a word, and the moment before it.
ANSWER_S = 1.5

Count = Annotated[int, Strict(), Field(ge=0, le=100_000_000)]
Seconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- the file -------------------------------------------------------------------------------


class MeasuredOn(_Model):
    """Where the figures come from."""

    by: str = Field(examples=["by: ivr replay"])
    recordings: str = Field(examples=["recordings: audio_fixtures"])
    date: str = Field(examples=["date: 2026-11-25"])
    calls: Count = Field(ge=1, examples=["calls: 122"])
    queues: str = Field(default="", examples=["queues: config/queues.yaml"])
    models: dict[str, str] = Field(default_factory=dict, examples=["models: {cmn: models/cmn}"])
    note: str = ""


class NeedCounts(_Model):
    """What became of the first utterance of the callers of one need."""

    routed: dict[str, Count] = Field(default_factory=dict)  # by queue
    confirmed: dict[str, Count] = Field(default_factory=dict)  # by queue that was asked about
    asked_again: Count = 0
    person: Count = 0
    emergency: Count = 0

    @property
    def calls(self) -> int:
        """All callers of the need."""
        named = sum(self.routed.values()) + sum(self.confirmed.values())
        return named + self.asked_again + self.person + self.emergency


class SpeechSeconds(_Model):
    """What callers take, s, mean over the calls."""

    speech_s: Seconds = Field(examples=["speech_s: 4.2"])  # of an utterance, with what is before it
    decision_s: Seconds = Field(examples=["decision_s: 0.8"])  # end of speech to the decision


class PromptSeconds(_Model):
    """How long prompts are, s, mean over the languages; the greeting is said in both."""

    source: str = Field(default="", examples=["source: 4.5 characters a second"])
    greeting_s: Seconds = Field(examples=["greeting_s: 15.0"])
    route_s: Seconds = Field(examples=["route_s: 3.4"])
    confirm_s: Seconds = Field(examples=["confirm_s: 2.9"])
    ask_again_s: Seconds = Field(examples=["ask_again_s: 8.0"])
    ask_again_short_s: Seconds = Field(examples=["ask_again_short_s: 4.0"])
    person_s: Seconds = Field(examples=["person_s: 3.6"])


class Navigation(_Model):
    """All of a navigation file."""

    version: Literal[1] = Field(examples=["version: 1"])
    measured: MeasuredOn = Field(examples=["measured:"])
    #: None where nothing was streamed (``ivr eval``).
    seconds: SpeechSeconds | None = None
    prompts: PromptSeconds = Field(examples=["prompts:"])
    needs: dict[str, NeedCounts] = Field(min_length=1, examples=["needs:"])

    @property
    def calls(self) -> int:
        """All callers who named a need."""
        return sum(counts.calls for counts in self.needs.values())

    def share(self, what: Literal["routed", "confirmed", "asked_again", "person"]) -> float:
        """The share of first utterances that were so decided, over all needs, 0 to 1."""
        total = 0
        for counts in self.needs.values():
            value = getattr(counts, what)
            total += sum(value.values()) if isinstance(value, Mapping) else value
        return total / self.calls

    def wrong_of_routed(self) -> tuple[int, int]:
        """Of those put through without a question: how many went wrong, and how many there are."""
        routed = {need: counts.routed for need, counts in self.needs.items()}
        total = sum(sum(row.values()) for row in routed.values())
        right = sum(row.get(need, 0) for need, row in routed.items())
        return total - right, total


# --- measuring ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observation:
    """One recording whose need is known, and what was decided."""

    need: str
    decision: str  # a value of ivr.intent.types.Decision
    queue: str | None = None
    speech_s: float | None = None  # from the caller's turn to the end of the speech
    decision_s: float | None = None  # from the end of the speech to the decision


def measure_navigation(
    observations: Iterable[Observation],
    *,
    measured: MeasuredOn,
    catalogue: Catalogue,
    prompts: Path | None = None,
) -> Navigation:
    """The navigation of these calls.

    Args:
        measured: its ``calls`` is counted anew here.
        catalogue: whose queue names the prompts speak.
        prompts: the folder of the recorded prompts; without it by the length of their texts.

    Raises:
        ValueError: there is none.
    """
    seen = list(observations)
    if not seen:
        raise ValueError("no call names a need")
    rows: dict[str, list[Observation]] = defaultdict(list)
    for observation in seen:
        rows[observation.need].append(observation)
    ordered = [need for need in catalogue.queue_ids if need in rows]
    ordered += sorted(set(rows) - set(ordered))
    return Navigation(
        version=VERSION,
        measured=measured.model_copy(update={"calls": len(seen)}),
        seconds=_speech_seconds(seen),
        prompts=prompt_seconds(catalogue, prompts),
        needs={need: _counts(rows[need]) for need in ordered},
    )


def _counts(rows: Iterable[Observation]) -> NeedCounts:
    by_queue: dict[Decision, Counter[str]] = {
        Decision.ROUTE: Counter(),
        Decision.CONFIRM: Counter(),
    }
    other: Counter[Decision] = Counter()
    for row in rows:
        decision = Decision(row.decision)
        if decision in by_queue and row.queue:
            by_queue[decision][row.queue] += 1
        else:
            other[Decision.ASK_AGAIN if decision in by_queue else decision] += 1
    return NeedCounts(
        routed=dict(by_queue[Decision.ROUTE].most_common()),
        confirmed=dict(by_queue[Decision.CONFIRM].most_common()),
        asked_again=other[Decision.ASK_AGAIN],
        person=other[Decision.PERSON],
        emergency=other[Decision.EMERGENCY],
    )


def _speech_seconds(rows: Iterable[Observation]) -> SpeechSeconds | None:
    timed = [(r.speech_s, r.decision_s) for r in rows]
    speech = [s for s, _ in timed if s is not None]
    decision = [d for _, d in timed if d is not None]
    if not speech or not decision:
        return None
    return SpeechSeconds(
        speech_s=round(sum(speech) / len(speech), 2),
        decision_s=round(sum(decision) / len(decision), 2),
    )


def prompt_seconds(catalogue: Catalogue, folder: Path | None = None) -> PromptSeconds:
    """How long the prompts play, with the names of the queues.

    Raises:
        ConfigError: the texts in ``folder`` are not valid.
    """
    audio = PromptAudio(folder)
    texts = load_prompts(folder or Path())

    def lengths(id_: str, language: Language) -> Iterator[float]:
        for queue in catalogue.queues:
            said = texts.prompt(id_, language, queue=(queue.id, queue.name[language]))
            yield audio.duration_s(said)

    def mean(id_: str) -> float:
        found = [s for language in Language for s in lengths(id_, language)]
        return round(sum(found) / len(found), 2)

    return PromptSeconds(
        source="recorded prompts" if folder else "length of the texts",
        greeting_s=round(len(Language) * mean("greeting"), 2),
        route_s=mean("route"),
        confirm_s=mean("confirm"),
        ask_again_s=mean("ask_again"),
        ask_again_short_s=mean("ask_again_short"),
        person_s=mean("person_limit"),
    )


# --- reading and writing --------------------------------------------------------------------


def write_navigation(path: Path, navigation: Navigation) -> None:
    """Write the file; :func:`load_navigation` reads the same back.

    Raises:
        ConfigError: it cannot be written.
    """
    data = navigation.model_dump(mode="json", exclude_none=True)
    body = yaml.safe_dump(data, allow_unicode=True, sort_keys=False, default_flow_style=None)
    head = "".join(f"# {line}\n" for line in _summary(navigation))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{head}\n{body}", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); name another file"
        ) from error


def _summary(navigation: Navigation) -> Iterator[str]:
    wrong, routed = navigation.wrong_of_routed()
    yield "What speech navigation does to callers: measured, not to be edited by hand."
    yield "Measure it anew on your own recordings:"
    yield "  ivr replay RECORDINGS --expect labels.csv --navigation FILE"
    yield (
        f"Of {navigation.calls} first utterances {navigation.share('routed'):.1%} were routed at "
        f"once ({wrong} of {routed} wrongly),"
    )
    yield (
        f"{navigation.share('confirmed'):.1%} confirmed, {navigation.share('asked_again'):.1%} "
        f"asked again, {navigation.share('person'):.1%} handed to a person."
    )


def load_navigation(path: Path | str) -> Navigation:
    """The navigation file at ``path``.

    Raises:
        ConfigError: every fault of the file, one a line, as ``file:line:column: what; mend``.
    """
    return _navigation(read_yaml(path))


def parse_navigation(text: str, name: str = "navigation.yaml") -> Navigation:
    """The navigation file in ``text``; ``name`` stands for the file in messages.

    Raises:
        ConfigError: as :func:`load_navigation`.
    """
    return _navigation(parse_yaml(text, name=name))


def _navigation(source: YamlSource) -> Navigation:
    return validate(Navigation, source, checks=(_no_calls, _sum))


def _rows(source: YamlSource) -> Iterator[tuple[str, int | None]]:
    """Each need with its number of calls, None where a count is no number."""
    needs = source.get(("needs",))
    for need, row in (needs if isinstance(needs, dict) else {}).items():
        try:
            yield need, NeedCounts.model_validate(row).calls
        except ValueError:
            yield need, None


def _no_calls(source: YamlSource) -> Iterator[Fault]:
    for need, calls in _rows(source):
        if calls == 0:
            place = source.key_place(("needs", need))
            yield Fault(place, f"no call of need {need!r} was measured", "delete it, or measure it")


def _sum(source: YamlSource) -> Iterator[Fault]:
    stated, found = source.get(("measured", "calls")), [calls for _, calls in _rows(source)]
    counted = sum(calls for calls in found if calls is not None)
    if isinstance(stated, int) and None not in found and found and counted != stated:
        what = f"{stated} calls were measured, but the needs have {counted}"
        place = source.value_place(("measured", "calls"))
        yield Fault(place, what, "the file was edited; measure it anew with ivr replay")


# --- whole dialogues ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DialoguePath:
    """One way that a dialogue may take, with how likely it is."""

    probability: float  # over the paths of a need the sum is 1
    queue: str | None  # None: handed to a person
    seconds: float  # in the dialogue, from the answer to the queue
    tries: int  # utterances that named the need
    confirmed: int  # questions "is it about ...?"


@dataclass(frozen=True, slots=True)
class _Chances:
    routed: tuple[tuple[str, float], ...]
    confirmed: tuple[tuple[str, float], ...]
    asked_again: float
    person: float
    emergency: float

    def after_a_retry(self, understood: float) -> _Chances:
        """The chances of a later try, of which the share ``understood`` is as the first."""

        def less(row: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
            return tuple((queue, understood * p) for queue, p in row)

        return _Chances(
            less(self.routed),
            less(self.confirmed),
            1 - understood + understood * self.asked_again,
            understood * self.person,
            understood * self.emergency,
        )


def dialogue_paths(
    navigation: Navigation,
    need: str,
    *,
    seconds: SpeechSeconds,
    retries_understood: float = 1.0,
    barge_in: float = 0.0,
    max_no_match: int = 2,
    max_denied: int = 2,
) -> tuple[DialoguePath, ...]:
    """The ways that the dialogue of a caller with ``need`` may take.

    Args:
        seconds: what callers take; that of the file, or stated where the file has none.
        retries_understood: how often a later try is understood as well as the first, 0 to 1.
        barge_in: the share of the greeting that callers do not wait for, 0 to 1.
        max_no_match, max_denied: the limits of the dialogue (``config/kapok.yaml``).

    Raises:
        KeyError: the need was not measured.
    """
    counts = navigation.needs[need]
    first = _Chances(
        tuple((queue, n / counts.calls) for queue, n in counts.routed.items()),
        tuple((queue, n / counts.calls) for queue, n in counts.confirmed.items()),
        counts.asked_again / counts.calls,
        counts.person / counts.calls,
        counts.emergency / counts.calls,
    )
    follow = _Follow(navigation.prompts, seconds, need, max_no_match, max_denied)
    follow.later = first.after_a_retry(retries_understood)
    greeting_s = (1 - barge_in) * navigation.prompts.greeting_s
    follow.step(first, 1.0, _Turn(now_s=greeting_s))
    ways = sorted(follow.found.items(), key=lambda way: (-way[1], str(way[0])))
    return tuple(DialoguePath(probability, *way) for way, probability in ways)


@dataclass(frozen=True, slots=True)
class _Turn:
    """Where a dialogue stands."""

    now_s: float
    tries: int = 0
    no_matches: int = 0
    denials: int = 0
    confirmed: int = 0


class _Follow:
    """Walks the tree of a dialogue; its depth is bound by the limits."""

    later: _Chances

    def __init__(
        self,
        prompts: PromptSeconds,
        seconds: SpeechSeconds,
        need: str,
        max_no_match: int,
        max_denied: int,
    ) -> None:
        self._prompts, self._seconds, self._need = prompts, seconds, need
        self._max_no_match, self._max_denied = max_no_match, max_denied
        self.found: defaultdict[tuple[str | None, float, int, int], float] = defaultdict(float)

    def step(self, chances: _Chances, likely: float, turn: _Turn) -> None:
        """The caller speaks; ``likely`` is the probability to come to this."""
        if likely <= 0:
            return
        prompts, heard_s = self._prompts, self._seconds.speech_s + self._seconds.decision_s
        turn = replace(turn, now_s=turn.now_s + heard_s, tries=turn.tries + 1)
        for queue, p in chances.routed:
            self._end(likely * p, queue, turn, prompts.route_s)
        self._end(likely * chances.person, None, turn, prompts.person_s)
        self._again(likely * chances.asked_again, replace(turn, no_matches=turn.no_matches + 1))

        question_s = prompts.confirm_s + ANSWER_S + self._seconds.decision_s
        asked = replace(turn, now_s=turn.now_s + question_s, confirmed=turn.confirmed + 1)
        for queue, p in chances.confirmed:
            if queue == self._need:
                self._end(likely * p, queue, asked, prompts.route_s)
        denied = sum(p for queue, p in chances.confirmed if queue != self._need)
        wrong = likely * (denied + chances.emergency)
        self._again(wrong, replace(asked, denials=asked.denials + 1))

    def _again(self, likely: float, turn: _Turn) -> None:
        prompts = self._prompts
        if turn.no_matches > self._max_no_match or turn.denials > self._max_denied:
            self._end(likely, None, turn, prompts.person_s)
            return
        first = turn.no_matches + turn.denials == 1
        prompt_s = prompts.ask_again_s if first else prompts.ask_again_short_s
        self.step(self.later, likely, replace(turn, now_s=turn.now_s + prompt_s))

    def _end(self, likely: float, queue: str | None, turn: _Turn, prompt_s: float) -> None:
        if likely > 0:
            way = (queue, round(turn.now_s + prompt_s, 3), turn.tries, turn.confirmed)
            self.found[way] += likely
