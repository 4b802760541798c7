"""The navigation file: measured, written, read, and followed through whole dialogues."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.navigation import (
    ANSWER_S,
    MeasuredOn,
    Navigation,
    Observation,
    SpeechSeconds,
    dialogue_paths,
    load_navigation,
    measure_navigation,
    parse_navigation,
    write_navigation,
)

ROOT = Path(__file__).resolve().parents[2]
SECONDS = SpeechSeconds(speech_s=4.0, decision_s=1.0)
MEASURED = MeasuredOn(by="ivr replay", recordings="calls", date="2026-11-25", calls=1)


@cache
def queues() -> Catalogue:
    return load_catalogue(ROOT / "config" / "queues.yaml")


@pytest.fixture
def catalogue() -> Catalogue:
    return queues()


def navigation(catalogue: Catalogue, *seen: tuple[str, str, str | None]) -> Navigation:
    observed = [Observation(n, d, q, speech_s=4.0, decision_s=1.0) for n, d, q in seen]
    return measure_navigation(observed, measured=MEASURED, catalogue=catalogue)


def test_counts_by_need_in_the_order_of_the_queues(catalogue: Catalogue) -> None:
    found = navigation(
        catalogue,
        ("social_security", "route", "social_security"),
        ("social_security", "route", "general"),
        ("social_security", "confirm", "general"),
        ("social_security", "ask_again", None),
        ("consumer_rights", "person", None),
        ("consumer_rights", "emergency", None),
    )
    assert list(found.needs) == ["consumer_rights", "social_security"]
    row = found.needs["social_security"]
    assert (row.routed, row.confirmed) == ({"social_security": 1, "general": 1}, {"general": 1})
    assert (row.asked_again, row.person, row.calls) == (1, 0, 4)
    assert found.measured.calls == found.calls == 6
    assert found.wrong_of_routed() == (1, 2)
    assert found.share("person") == pytest.approx(1 / 6)
    assert found.seconds == SECONDS


def test_what_has_no_clock_has_no_seconds(catalogue: Catalogue) -> None:
    seen = [Observation("general", "route", "general")]
    assert measure_navigation(seen, measured=MEASURED, catalogue=catalogue).seconds is None
    with pytest.raises(ValueError, match="need"):
        measure_navigation([], measured=MEASURED, catalogue=catalogue)


def test_written_and_read_back(catalogue: Catalogue, tmp_path: Path) -> None:
    found = navigation(
        catalogue, ("general", "route", "general"), ("general", "confirm", "social_security")
    )
    write_navigation(tmp_path / "new" / "navigation.yaml", found)
    assert load_navigation(tmp_path / "new" / "navigation.yaml") == found


def test_the_committed_file_is_measured_on_the_fixtures() -> None:
    found = load_navigation(ROOT / "config" / "scenarios" / "navigation.yaml")
    assert found.measured.recordings == "audio_fixtures"
    assert found.calls == 122
    assert found.seconds is not None
    assert 2 < found.seconds.speech_s < 10


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("calls: 2", "calls: 3", "3 calls were measured, but the needs have 2"),
        ("asked_again: 0", "asked_again: -1", "not allowed"),
        ("asked_again", "asked_agian", "did you mean 'asked_again'?"),
        ("version: 1", "version: 2", "not allowed"),
    ],
)
def test_faults_have_their_place(
    catalogue: Catalogue, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    write_navigation(
        tmp_path / "n.yaml",
        navigation(catalogue, ("general", "route", "general"), ("general", "route", "general")),
    )
    text = (tmp_path / "n.yaml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ConfigError, match=r"^n\.yaml:\d+:\d+: ") as error:
        parse_navigation(text.replace(old, new, 1), name="n.yaml")
    assert expected in str(error.value)


@given(st.text(max_size=80))
@settings(max_examples=40, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_navigation(f"version: 1\n{text}")


# --- whole dialogues ------------------------------------------------------------------------


def test_a_caller_who_is_understood_at_once(catalogue: Catalogue) -> None:
    found = navigation(catalogue, ("general", "route", "general"))
    (path,) = dialogue_paths(found, "general", seconds=SECONDS)
    prompts = found.prompts
    assert path.queue == "general"
    assert path.seconds == pytest.approx(prompts.greeting_s + 5.0 + prompts.route_s)
    (barging,) = dialogue_paths(found, "general", seconds=SECONDS, barge_in=1.0)
    assert barging.seconds == pytest.approx(5.0 + prompts.route_s)


def test_a_right_question_costs_its_own_seconds(catalogue: Catalogue) -> None:
    found = navigation(catalogue, ("general", "confirm", "general"))
    (path,) = dialogue_paths(found, "general", seconds=SECONDS, barge_in=1.0)
    question_s = found.prompts.confirm_s + ANSWER_S + 1.0
    assert path.seconds == pytest.approx(5.0 + question_s + found.prompts.route_s)
    assert (path.tries, path.confirmed) == (1, 1)


def test_who_is_never_understood_reaches_a_person(catalogue: Catalogue) -> None:
    found = navigation(catalogue, ("general", "ask_again", None))
    (path,) = dialogue_paths(found, "general", seconds=SECONDS, barge_in=1.0, max_no_match=2)
    prompts = found.prompts
    again_s = prompts.ask_again_s + prompts.ask_again_short_s
    assert path.queue is None
    assert path.tries == 3
    assert path.seconds == pytest.approx(3 * 5.0 + again_s + prompts.person_s)


def test_a_wrong_question_is_denied_and_a_wrong_route_is_not(catalogue: Catalogue) -> None:
    found = navigation(
        catalogue,
        ("general", "confirm", "social_security"),
        ("general", "route", "consumer_rights"),
    )
    paths = dialogue_paths(found, "general", seconds=SECONDS)
    by_queue = {q: sum(p.probability for p in paths if p.queue == q) for q in (None,
                "consumer_rights", "social_security")}  # fmt: skip
    # Every try is routed wrongly by half; three questions denied go to a person.
    assert by_queue == {
        None: pytest.approx(1 / 8), "consumer_rights": pytest.approx(7 / 8), "social_security": 0
    }  # fmt: skip


DECISION = st.sampled_from(
    [("route", "general"), ("route", "social_security"), ("confirm", "general"),
     ("confirm", "social_security"), ("ask_again", None), ("person", None), ("emergency", None)]
)  # fmt: skip


@given(st.lists(DECISION, min_size=1, max_size=12), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_probabilities_of_the_paths_sum_to_one(
    seen: list[tuple[str, str | None]], retries: float, barge_in: float
) -> None:
    found = navigation(queues(), *(("general", d, q) for d, q in seen))
    paths = dialogue_paths(
        found, "general", seconds=SECONDS, retries_understood=retries, barge_in=barge_in
    )
    assert sum(path.probability for path in paths) == pytest.approx(1.0)
    assert all(path.seconds > 5.0 for path in paths)
