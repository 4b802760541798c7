"""What an edit of the queues does to waiting: the same hotline navigated by the old and the new.

Both arms have speech navigation as the scenario's arm after has it; only who is sent where differs,
as the labelled calls show it. Needs without a labelled call are navigated as the scenario's own
navigation file says, by both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ivr.errors import ConfigError
from ivr.queues.navigation import MeasuredOn, Navigation, Observation, measure_navigation
from ivr.queues.scenario import Scenario

__all__ = ["edited_scenario"]

_OLD, _NEW = "old", "new"


def edited_scenario(
    scenario: Scenario, old: Iterable[Observation], new: Iterable[Observation], *, calls: str
) -> Scenario:
    """The scenario with both arms navigated by speech: before as ``old``, after as ``new``.

    Args:
        old, new: the labelled calls, as each catalogue decides them.
        calls: what the calls are called in messages.

    Raises:
        ConfigError: the scenario has no speech navigation, or no call has a label of a need of it.
    """
    speech = scenario.file.after.speech
    if speech is None:
        raise ConfigError(f"{scenario.path}: its arm after has no speech navigation to edit")
    base = scenario.navigation[speech.navigation]
    needs = set(scenario.needs)
    both = {
        _OLD: _navigation(scenario, base, [o for o in old if o.need in needs], calls),
        _NEW: _navigation(scenario, base, [o for o in new if o.need in needs], calls),
    }
    arms = {
        side: scenario.file.after.model_copy(
            update={"name": name, "speech": speech.model_copy(update={"navigation": name})}
        )
        for side, name in (("before", _OLD), ("after", _NEW))
    }
    return replace(scenario, file=scenario.file.model_copy(update=arms), navigation=both)


def _navigation(
    scenario: Scenario, base: Navigation, seen: list[Observation], calls: str
) -> Navigation:
    if not seen:
        raise ConfigError(
            f"{calls}: no call is labelled with a need of {scenario.path}; "
            "add a column 'expected' with the id of a queue"
        )
    measured = MeasuredOn(by="ivr diff", recordings=calls, date="", calls=len(seen))
    found = measure_navigation(seen, measured=measured, catalogue=scenario.catalogue)
    return base.model_copy(update={"needs": {**base.needs, **found.needs}})
