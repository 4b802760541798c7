"""Scenarios of the queue simulator: ``config/scenarios/*.yaml``, schema and loading.

A scenario says who calls and when, what agents there are, and two arms: *before* (a menu of keys,
or one general queue) and *after* (speech navigation, by what a navigation file measured). Callers
and agents are the same in both; only what stands before the queues differs.

    scenario = load_scenario("config/scenarios/city.yaml")

Everything is frozen and checked once; every fault is told with line, column and mend, as for
``queues.yaml``. Queues, their names, hours and priorities come from the ``queues.yaml`` that the
scenario names. :mod:`ivr.queues.scenario_model` makes a model of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)

from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.hours import parse_hours
from ivr.queues.navigation import Navigation, load_navigation
from ivr.queues.simulation.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Never,
)
from ivr.yamlsource import Fault, FaultsError, YamlSource, did_you_mean, read_yaml, refuse, validate

__all__ = [
    "HALF_HOURS",
    "HALF_HOUR_S",
    "WEEK",
    "Arm",
    "CallColumns",
    "Callers",
    "Calls",
    "Day",
    "GroupSpec",
    "Menu",
    "NeedSpec",
    "Scenario",
    "ScenarioFile",
    "SkillSpec",
    "Speech",
    "Study",
    "Times",
    "load_scenario",
    "read_scenario",
]

HALF_HOUR_S = 1800.0
HALF_HOURS = 48  # of a day

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Day, ...] = get_args(Day)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- times ----------------------------------------------------------------------------------


class Times(_Model):
    """How long something takes; one of the ways below, or a plain number of seconds."""

    constant_s: Seconds | None = None
    exponential_s: Positive | None = None  # the mean
    mean_s: Positive | None = None  # lognormal, with sd_s
    sd_s: Seconds | None = None
    log_mean: Annotated[float, Field(ge=-10, le=12)] | None = None  # lognormal, of ln(seconds)
    log_sd: Annotated[float, Field(ge=0, le=5)] | None = None
    empirical_s: tuple[Seconds, ...] | None = Field(default=None, min_length=1)
    never: Literal[True] | None = None  # of patience: nobody gives up

    @model_validator(mode="after")
    def _one_way(self) -> Times:
        given = set(self.model_fields_set)
        if given not in [set(way) for way in _WAYS]:
            raise refuse(f"{', '.join(sorted(given)) or 'nothing'} is no way to say a time", _MEND)
        return self

    @property
    def distribution(self) -> Distribution:
        """The distribution that is drawn from."""
        if self.constant_s is not None:
            return Constant(self.constant_s)
        if self.exponential_s is not None:
            return Exponential(self.exponential_s)
        if self.mean_s is not None:
            return LogNormal(self.mean_s, self.sd_s or 0.0)
        if self.log_mean is not None:
            return LogNormal.of_logs(self.log_mean, self.log_sd or 0.0)
        return Empirical(self.empirical_s) if self.empirical_s else Never()


_WAYS = (
    ("constant_s",),
    ("exponential_s",),
    ("mean_s", "sd_s"),
    ("log_mean", "log_sd"),
    ("empirical_s",),
    ("never",),
)
_MEND = (
    "write seconds as a number, { exponential_s: 300 }, { mean_s: 300, sd_s: 250 }, "
    "{ log_mean: 4.62, log_sd: 1.2 } or { empirical_s: [60, 95, 340] }"
)


def _number_of_seconds(value: object) -> object:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if plain:
        return {"constant_s": value}
    if not isinstance(value, Mapping | Times):
        raise refuse("this is no time", _MEND)
    return value


TimesField = Annotated[Times, BeforeValidator(_number_of_seconds)]


# --- who calls ------------------------------------------------------------------------------


def _check_profile(profile: tuple[float, ...]) -> tuple[float, ...]:
    if len(profile) != HALF_HOURS:
        raise refuse(
            f"a day has {HALF_HOURS} half hours, not {len(profile)}",
            "write one number for each half hour from 00:00",
        )
    if not any(profile):
        raise refuse("nobody calls in this profile", "write a number above 0 for a half hour")
    return profile


class WeekDay(_Model):
    """How a day of the week differs from the day that is described."""

    calls: Annotated[float, Field(ge=0, le=10)] = Field(default=1.0, examples=["calls: 0.6"])
    agents: Annotated[float, Field(ge=0, le=10)] = Field(default=1.0, examples=["agents: 0.7"])


class Calls(_Model):
    """How many call, and when."""

    a_day: Annotated[float, Field(gt=0, le=10_000_000)] = Field(examples=["a_day: 10000"])
    #: how calls share out over the half hours from 00:00; any scale
    profile: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1e9)], ...], AfterValidator(_check_profile)
    ] = Field(examples=["profile: [1, 1, 2, ...]"])
    #: coefficient of variation of the number of calls from day to day, beyond Poisson's
    busyness_cv: Annotated[float, Field(ge=0, le=2)] = 0.0


class NeedSpec(_Model):
    """Callers of one need; what is not said is as for all callers."""

    share: Share = Field(examples=["share: 0.2"])
    service: TimesField | None = None
    wrap_up: TimesField | None = None
    patience: TimesField | None = None


class RedialSpec(_Model):
    """Who gives up rings again."""

    probability: Share = Field(examples=["probability: 0.3"])
    delay: TimesField = Field(default=Times(exponential_s=300.0), examples=["delay: 300"])
    most: Annotated[int, Strict(), Field(ge=0, le=15)] = 3


class Callers(_Model):
    """Who calls."""

    needs: dict[str, NeedSpec] = Field(min_length=1, examples=["needs:"])
    service: TimesField = Field(examples=["service: { log_mean: 4.62, log_sd: 1.2 }"])
    wrap_up: TimesField = Field(default=Times(constant_s=0.0), examples=["wrap_up: 30"])
    patience: TimesField = Field(examples=["patience: { exponential_s: 413 }"])
    #: share of the calls of every need that any agent can serve
    simple: Share = 0.0
    redial: RedialSpec | None = None


# --- who answers ----------------------------------------------------------------------------


class SkillSpec(_Model):
    """A queue that a group answers; see ivr.queues.simulation.model.Skill."""

    queue: str = Field(examples=["queue: general"])
    level: Annotated[int, Strict(), Field(ge=0, le=9)] = 0
    after_s: Seconds = 0.0
    service_factor: Annotated[float, Field(gt=0, le=10)] = 1.0


def _skill(value: object) -> object:
    return {"queue": value} if isinstance(value, str) else value


def _shift_spans(value: object) -> object:
    if not isinstance(value, Mapping):
        raise refuse("these are no shifts", 'write for example "08:00-16:00": 12')
    for key in value:
        hours, faults = parse_hours({"mon": str(key)})
        if hours is None:
            what = faults[0].what
            raise refuse(what, 'write for example "08:00-16:00": 12', at=(str(key),))
    return value


class GroupSpec(_Model):
    """Agents with the same skills; shifts are ``"HH:MM-HH:MM": agents``, the same every day."""

    group: str = Field(examples=["group: social_security"])
    skills: tuple[Annotated[SkillSpec, BeforeValidator(_skill)], ...] | None = Field(
        default=None, min_length=1, examples=["skills: [social_security, general]"]
    )
    shifts: Annotated[
        dict[str, Annotated[int, Strict(), Field(ge=0, le=100_000)]], BeforeValidator(_shift_spans)
    ] = Field(min_length=1, examples=['shifts: { "08:00-16:00": 12 }'])

    @property
    def all_skills(self) -> tuple[SkillSpec, ...]:
        """The skills; without any, the queue of the group's own name."""
        return self.skills or (SkillSpec(queue=self.group),)

    def spans_s(self) -> Iterator[tuple[float, float, int]]:
        """Each shift: from and to, seconds after midnight (past 86400 for a night), and agents."""
        for key, agents in self.shifts.items():
            hours, _ = parse_hours({"mon": key})
            for start, end in hours.week[0] if hours else ():
                yield 60.0 * start, 60.0 * end, agents


# --- arms -----------------------------------------------------------------------------------


class Menu(_Model):
    """A menu of keys, or with ``queues: one`` just a greeting before one queue for all."""

    seconds: TimesField = Field(examples=["seconds: 35"])
    #: share of callers that end up in a wrong queue; stated, with its source in a comment
    misroute: Share = Field(default=0.0, examples=["misroute: 0.15"])
    #: where they end up: in any other queue alike, or in the default queue
    misrouted_to: Literal["any", "default"] = "any"
    hung_up: Share = 0.0  # share that gives up in the menu


class Speech(_Model):
    """Speech navigation, as a navigation file measured it."""

    navigation: str = Field(examples=["navigation: navigation.yaml"])
    retries_understood: Share = 1.0  # how often a second try is understood as well as the first
    barge_in: Share = 0.0  # share of the greeting that callers do not wait for
    speech_s: Seconds | None = None  # where the file has no seconds
    decision_s: Seconds | None = None
    hung_up: Share = 0.0


class Arm(_Model):
    """What stands before the queues."""

    name: str = Field(default="", examples=["name: Menu of keys"])
    menu: Menu | None = Field(default=None, examples=["menu:"])
    speech: Speech | None = Field(default=None, examples=["speech:"])
    #: separate: callers go to the queue of their need; one: to one queue that all agents answer
    queues: Literal["separate", "one"] = "separate"
    contained: Share = 0.0  # share that the machine serves to the end
    contained_seconds: TimesField = Times(constant_s=60.0)

    @model_validator(mode="after")
    def _one_front_end(self) -> Arm:
        if (self.menu is None) == (self.speech is None):
            raise refuse("an arm has either a menu or speech", "write 'menu:' or 'speech:'")
        return self


class TransferSpec(_Model):
    """What a misrouted call costs."""

    seconds: TimesField = Field(default=Times(constant_s=45.0), examples=["seconds: 45"])
    patience: Literal["afresh", "goes_on"] = "goes_on"
    keeps_place: bool = False
    priority: Annotated[int, Strict(), Field(ge=1, le=9)] | None = None


class CallBackSpec(_Model):
    """Callers behind a long wait may be rung back."""

    offer_wait_s: Seconds = Field(examples=["offer_wait_s: 120"])
    acceptance: Share = Field(examples=["acceptance: 0.3"])
    reached: Share = 0.9
    no_answer: TimesField = Times(constant_s=30.0)


class Study(_Model):
    """How it is simulated and what is asked."""

    replications: Annotated[int, Strict(), Field(ge=2, le=100_000)] = 30
    seed: Annotated[int, Strict(), Field(ge=0)] = 2026
    days: Annotated[int, Strict(), Field(ge=1, le=366)] = 1
    weekday: Day = "tue"  # of the first day
    answer_within_s: Seconds = 15.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    #: the change that is asked for, and of what: all the time until the right agent answers, or
    #: the wait in queues alone
    target_measure: Literal["mean_to_agent_s", "mean_wait_s"] = "mean_to_agent_s"
    target_change: Annotated[float, Field(ge=-1, le=1)] = -0.43


class CallColumns(_Model):
    """Which columns of a table of call records hold what; see ivr.queues.records."""

    arrived: str = Field(examples=["arrived: call_start"])
    queue: str = Field(examples=["queue: skill"])
    answered: str | None = None  # a time; empty where the caller gave up
    ended: str | None = None  # a time: end of the talk, or when the caller gave up
    wait_s: str | None = None  # instead of times: seconds
    service_s: str | None = None
    abandoned: str | None = None  # yes/no, where it cannot be told from the others
    need: str | None = None  # the queue that was right, where it is known
    time_format: str | None = None  # as of strptime; ISO 8601 without
    #: what the records call a queue -> its id in queues.yaml
    queues: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _enough(self) -> CallColumns:
        if (self.ended is None) == (self.wait_s is None):
            raise refuse(
                "how long a caller waited is not told, or twice",
                "name the columns answered and ended (times), or wait_s and service_s (seconds)",
            )
        if self.ended is not None and self.answered is None:
            raise refuse("the column of the answer is not named", "write 'answered: COLUMN'")
        if self.wait_s is not None and self.service_s is None:
            raise refuse("the column of the talk is not named", "write 'service_s: COLUMN'")
        return self


class ScenarioFile(_Model):
    """All of a scenario's file."""

    name: str = Field(examples=["name: A large city"])
    about: str = ""
    queues: str = Field(examples=["queues: ../queues.yaml"])
    calls: Calls = Field(examples=["calls:"])
    week: dict[Day, WeekDay] = Field(default_factory=dict)
    callers: Callers = Field(examples=["callers:"])
    agents: tuple[GroupSpec, ...] = Field(min_length=1, examples=["agents:"])
    transfer: TransferSpec = TransferSpec()
    call_back: CallBackSpec | None = None
    before: Arm = Field(examples=["before:"])
    after: Arm = Field(examples=["after:"])
    study: Study = Study()
    call_records: CallColumns | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario with the files that it names."""

    file: ScenarioFile
    catalogue: Catalogue
    #: by the name that an arm gives, the navigation file
    navigation: Mapping[str, Navigation]
    path: Path

    @property
    def needs(self) -> tuple[str, ...]:
        """The needs, in the order of the queues; each is the id of a queue."""
        return tuple(id_ for id_ in self.catalogue.queue_ids if id_ in self.file.callers.needs)

    def with_study(self, **values: int) -> Scenario:
        """The scenario with other settings of its study, as ``replications``."""
        study = self.file.study.model_copy(update=values)
        return replace(self, file=self.file.model_copy(update={"study": study}))


# --- loading --------------------------------------------------------------------------------


def load_scenario(path: Path | str) -> Scenario:
    """The scenario at ``path``, with its queues and navigation files.

    Raises:
        ConfigError: every fault of the file, one a line, as ``file:line:column: what; mend``; or
            of a file that it names.
    """
    return read_scenario(read_yaml(path), path=Path(path))


def read_scenario(
    source: YamlSource, *, path: Path, catalogue: Catalogue | None = None
) -> Scenario:
    """As :func:`load_scenario`; files that are named are looked for beside ``path``.

    ``catalogue`` takes the place of the ``queues.yaml`` that the scenario names.
    """
    catalogue = catalogue or _load_queues(source, path)
    checks = (
        lambda s: _unknown_queues(s, catalogue),
        _shares,
        _twice,
        lambda s: _uncovered(s, catalogue),
    )
    file = validate(ScenarioFile, source, checks=checks)
    assert catalogue is not None  # a file without queues is not valid
    scenario = Scenario(file, catalogue, _load_navigation(file, source, path), path)
    faults = list(_unmeasured(scenario, source))
    if faults:
        raise FaultsError(source.name, faults)
    return scenario


def _load_queues(source: YamlSource, path: Path) -> Catalogue | None:
    named = source.get(("queues",))
    if not isinstance(named, str):
        return None  # the schema says what is wrong
    return load_catalogue(_beside(path, named, source, ("queues",)))


def _beside(path: Path, named: str, source: YamlSource, at: tuple[str, ...]) -> Path:
    found = path.parent / named
    if not found.is_file():
        what = f"there is no file {found}"
        raise FaultsError(
            source.name, [Fault(source.value_place(at), what, "write its path from this file")]
        )
    return found


def _load_navigation(
    file: ScenarioFile, source: YamlSource, path: Path
) -> Mapping[str, Navigation]:
    found = {}
    for side in ("before", "after"):
        arm: Arm = getattr(file, side)
        if arm.speech is not None:
            named = arm.speech.navigation
            found[named] = load_navigation(
                _beside(path, named, source, (side, "speech", "navigation"))
            )
    return found


def _group(source: YamlSource, path: tuple[str | int, ...]) -> dict[str, Any]:
    value = source.get(path)
    return value if isinstance(value, dict) else {}


def _unknown_queues(source: YamlSource, catalogue: Catalogue | None) -> Iterator[Fault]:
    if catalogue is None:
        return
    known = catalogue.queue_ids
    for need in _group(source, ("callers", "needs")):
        if need not in known:
            yield Fault(
                source.key_place(("callers", "needs", need)),
                f"there is no queue {need!r}",
                did_you_mean(need, known, kind="queues"),
            )
    for path, group in source.items(("agents",)):
        skills = group.get("skills") if isinstance(group, dict) else None
        named = [((*path, "group"), group.get("group"))] if isinstance(group, dict) else []
        if isinstance(skills, list):
            named = [
                ((*path, "skills", n), s.get("queue") if isinstance(s, dict) else s)
                for n, s in enumerate(skills)
            ]
        for place, queue in named:
            if isinstance(queue, str) and queue not in known:
                mend = did_you_mean(queue, known, kind="queues")
                yield Fault(source.value_place(place), f"there is no queue {queue!r}", mend)


def _shares(source: YamlSource) -> Iterator[Fault]:
    needs = _group(source, ("callers", "needs"))
    shares = [need.get("share") for need in needs.values() if isinstance(need, dict)]
    numbers = [s for s in shares if isinstance(s, int | float) and not isinstance(s, bool)]
    if numbers and len(numbers) == len(needs) and abs(math.fsum(numbers) - 1) > 0.001:
        what = f"the shares of the needs sum to {math.fsum(numbers):.3f}, not to 1"
        yield Fault(source.key_place(("callers", "needs")), what, "change them so that they do")


def _twice(source: YamlSource) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for path, group in source.items(("agents",)):
        name = group.get("group") if isinstance(group, dict) else None
        if not isinstance(name, str):
            continue
        place = source.value_place((*path, "group"))
        if name in seen:
            what = f"the group {name!r} is here twice, first in line {seen[name]}"
            yield Fault(place, what, "give it another name, or delete it")
        seen.setdefault(name, place.line)


def _uncovered(source: YamlSource, catalogue: Catalogue | None) -> Iterator[Fault]:
    """Needs that no agent can serve would be sent round for ever."""
    answered: set[str] = set()
    for _, group in source.items(("agents",)):
        if not isinstance(group, dict):
            return
        skills = group.get("skills") or [group.get("group")]
        answered |= {
            str(s.get("queue") if isinstance(s, dict) else s)
            for s in (skills if isinstance(skills, list) else [])
        }
    if catalogue and answered and catalogue.default_queue not in answered:
        yield Fault(
            source.key_place(("agents",)),
            f"no group of agents answers {catalogue.default_queue!r}, the default queue, "
            "where callers come who are not understood",
            f"add a group with 'skills: [{catalogue.default_queue}]'",
        )
    for need in _group(source, ("callers", "needs")):
        if catalogue and need in catalogue.queue_ids and need not in answered:
            yield Fault(
                source.key_place(("callers", "needs", need)),
                f"no group of agents answers {need!r}",
                f"add a group with 'skills: [{need}]'",
            )


def _unmeasured(scenario: Scenario, source: YamlSource) -> Iterator[Fault]:
    for side in ("before", "after"):
        speech: Speech | None = getattr(scenario.file, side).speech
        if speech is None:
            continue
        place = source.value_place((side, "speech", "navigation"))
        navigation = scenario.navigation[speech.navigation]
        missing = [need for need in scenario.needs if need not in navigation.needs]
        if missing:
            what = f"{speech.navigation} has not measured {', '.join(missing)}"
            yield Fault(place, what, "measure it on recordings of every need with ivr replay")
        stated = speech.speech_s is not None and speech.decision_s is not None
        if navigation.seconds is None and not stated:
            what = f"{speech.navigation} has no seconds"
            mend = "measure it with ivr replay, or state speech_s and decision_s"
            yield Fault(place, what, mend)
        routed = {q for row in navigation.needs.values() for q in (*row.routed, *row.confirmed)}
        foreign = sorted(routed - set(scenario.catalogue.queue_ids))
        if foreign:
            what = f"{speech.navigation} routes to {', '.join(foreign)}, no queue of this hotline"
            yield Fault(place, what, "measure it anew with this queues.yaml")
