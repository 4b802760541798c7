"""Call records: read with every fault in its place, and fitted so that known parameters return."""

from __future__ import annotations

import csv
import math
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.errors import ConfigError
from ivr.queues.catalogue import Catalogue, load_catalogue
from ivr.queues.experiment import Runner
from ivr.queues.records import MOST_FAULTS, CallRecords, read_records
from ivr.queues.records_fit import (
    fit_records,
    fit_service,
    fitted_scenario,
    kaplan_meier,
    patience_given_wait,
)
from ivr.queues.records_replay import recorded_values, replay_records, trace_of
from ivr.queues.scenario import CallColumns, Scenario, Times
from ivr.queues.scenario_model import BEFORE, scenario_model
from ivr.queues.simulation.kernel import Outcome
from ivr.queues.simulation.run import simulate_logged
from tests.queues.test_experiment import TEXT, scenario

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = CallColumns(
    arrived="came",
    answered="answered",
    ended="ended",
    queue="skill",
    queues={"SB": "social_security"},
)
HEAD = "came,answered,ended,skill\n"
GOOD = "2026-11-02 10:00:00,2026-11-02 10:00:30,2026-11-02 10:04:00,SB\n"


@cache
def queues() -> Catalogue:
    return load_catalogue(ROOT / "config" / "queues.yaml")


def read(tmp_path: Path, text: str, columns: CallColumns = COLUMNS) -> CallRecords:
    path = tmp_path / "cdr.csv"
    path.write_text(text, encoding="utf-8")
    return read_records(path, columns, queues())


# --- reading --------------------------------------------------------------------------------


def test_times_become_waits_and_talks(tmp_path: Path) -> None:
    gave_up = "2026-11-03 09:00:00,,2026-11-03 09:01:15,general\n"
    found = read(tmp_path, HEAD + gave_up + GOOD)
    assert found.ids == ("social_security", "general")
    assert found.arrived_s.tolist() == [36_000, 86_400 + 32_400]  # in order of arrival
    assert found.wait_s.tolist() == [30, 75]
    assert found.service_s[0] == 210
    assert math.isnan(found.service_s[1])
    assert found.abandoned.tolist() == [False, True]
    assert (found.days, str(found.first_day)) == (2, "2026-11-02")


def test_seconds_and_a_flag_and_other_forms(tmp_path: Path) -> None:
    columns = CallColumns(
        arrived="t", wait_s="w", service_s="s", abandoned="gone", queue="q", need="n",
        time_format="%d/%m/%Y %H:%M",
    )  # fmt: skip
    text = "t;w;s;gone;q;n\n02/11/2026 10:00;12;90;否;general;social_security\n"
    text += "02/11/2026 10:01;40.5;0;是;general;\n"
    found = read(tmp_path, text, columns)
    assert found.wait_s.tolist() == [12, 40.5]
    assert found.abandoned.tolist() == [False, True]
    assert found.misrouted == 0.5


def test_times_with_a_zone_are_put_on_the_centres_clock(tmp_path: Path) -> None:
    text = HEAD + GOOD.replace(" 10:0", "T02:0").replace(",2026", "+00:00,2026", 2).replace(
        ",SB", "+00:00,SB"
    )
    assert read(tmp_path, text).arrived_s.tolist() == [36_000]


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ("yesterday,,2026-11-02 10:04:00,SB", "came", "'yesterday' is no time"),
        (",,2026-11-02 10:04:00,SB", "came", "nothing; write when the call came"),
        ("2026-11-02 10:00,,,SB", "ended", "nothing; write when the call ended"),
        ("2026-11-02 10:00,,2026-11-02 09:00,SB", "ended", "is before"),
        ("2026-11-02 10:00,2026-11-02 10:09,2026-11-02 10:04,SB", "ended", "is before"),
        ("2026-11-02 10:00,,2026-12-02 10:00,SB", "ended", "more than a day after"),
        ("2026-11-02 10:00,,2026-11-02 10:04,SZ", "skill", "'SZ' is no queue; the queues"),
        ("2026-11-02 10:00,,2026-11-02 10:04,genral", "skill", "did you mean 'general'?"),
    ],
)
def test_faults_have_row_and_column(tmp_path: Path, row: str, column: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, f"{HEAD}{GOOD}{row}\n")
    assert f"cdr.csv:3: column {column!r}: " in str(error.value)
    assert expected in str(error.value)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cdr\.csv:1: there is no column 'skill'.*'skil'"):
        read(tmp_path, HEAD.replace("skill", "skil") + GOOD)


def test_many_faults_are_cut_and_no_calls_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, HEAD + "x,,,SB\n" * 100)
    assert len(str(error.value).splitlines()) == MOST_FAULTS + 1
    with pytest.raises(ConfigError, match="holds no call"):
        read(tmp_path, HEAD)


@given(st.text(max_size=120))
@settings(max_examples=40, deadline=None)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("records")
    try:
        assert len(read(folder, HEAD + text)) > 0
    except ConfigError:
        return


# --- fitting --------------------------------------------------------------------------------

RNG = np.random.default_rng(2026)


def censored(calls: int, patience_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offered_s = RNG.exponential(150, calls) * (RNG.random(calls) < 0.7)
    return np.minimum(offered_s, patience_s), patience_s < offered_s


def test_exponential_patience_returns_though_most_of_it_is_censored() -> None:
    wait_s, abandoned = censored(20_000, RNG.exponential(413, 20_000))
    found = kaplan_meier(wait_s, abandoned)
    assert abandoned.mean() < 0.25
    assert found.mean_s == pytest.approx(413, rel=0.05)
    assert found.median_s == pytest.approx(413 * math.log(2), rel=0.1)
    assert found.taken == "exponential"


def test_patience_of_another_law_is_taken_as_estimated() -> None:
    patience_s = RNG.lognormal(5.5, 0.4, 20_000)
    wait_s, abandoned = censored(20_000, patience_s)
    found = kaplan_meier(wait_s, abandoned)
    assert found.taken == "empirical"
    drawn = np.array(found.times.empirical_s)
    for share in (0.1, 0.3, 0.5):
        assert np.quantile(drawn, share) == pytest.approx(np.quantile(patience_s, share), rel=0.08)


def test_patience_of_the_answered_is_above_their_wait() -> None:
    wait_s, abandoned = censored(5_000, RNG.lognormal(5.5, 0.4, 5_000))
    found = kaplan_meier(wait_s, abandoned)
    drawn = patience_given_wait(found, wait_s[~abandoned], np.random.default_rng(1))
    assert np.all(drawn >= wait_s[~abandoned])
    whole = np.concatenate([drawn, wait_s[abandoned]])
    assert np.median(whole) == pytest.approx(math.exp(5.5), rel=0.05)


def test_lognormal_service_returns_and_another_law_is_empirical() -> None:
    found = fit_service(RNG.lognormal(4.62, 1.20, 20_000))
    assert (found.log_mean, found.log_sd) == (
        pytest.approx(4.62, abs=0.03), pytest.approx(1.20, abs=0.03)
    )  # fmt: skip
    assert found.taken == "lognormal"
    two = np.concatenate([RNG.normal(60, 5, 5_000), RNG.normal(600, 30, 5_000)])
    other = fit_service(two)
    assert other.taken == "empirical"
    assert other.times.distribution.mean_s == pytest.approx(two.mean(), rel=0.001)


def write_log(path: Path, found: Scenario, days: int, seed: int) -> None:
    """The calls of a simulated hotline, as its telephone system would write them."""
    model = scenario_model(found.with_study(days=days), BEFORE)
    _, log = simulate_logged(model, seed, calls=100_000)
    assert log.complete
    midnight = datetime(2026, 11, 3)
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("came", "answered", "ended", "skill"))
        for call in log.calls:
            came = midnight + timedelta(seconds=float(call["arrival_s"]))
            waited = came + timedelta(seconds=float(call["wait_s"]))
            served = call["outcome"] == Outcome.ANSWERED
            ended = waited + timedelta(seconds=float(call["service_s"]) if served else 0)
            need = model.needs[call["need"]].name
            rows.writerow((came, waited if served else "", ended, need))


def test_a_hotline_is_recovered_from_its_own_records(tmp_path: Path) -> None:
    text = TEXT.replace("a_day: 120", "a_day: 240").replace("misroute: 0.25", "misroute: 0.0")
    text = text.replace("seconds: 30", "seconds: 0").replace('": 3 }', '": 7 }')
    true = scenario(text)
    path = tmp_path / "cdr.csv"
    write_log(path, true, days=40, seed=3)
    fit = fit_records(read_records(path, COLUMNS, queues()))
    assert fit.records.days == 40
    assert fit.arrivals.per_half_hour.sum() == pytest.approx(240, rel=0.03)
    assert fit.arrivals.per_half_hour[18:22] == pytest.approx([60] * 4, rel=0.1)
    assert fit.arrivals.per_half_hour[:18].sum() == 0
    assert fit.arrivals.busyness_cv < 0.05
    assert fit.arrivals.dispersion == pytest.approx(1, abs=0.3)
    assert fit.arrivals.shares["general"] == pytest.approx(0.5, abs=0.02)
    assert fit.service["general"].mean_s == pytest.approx(240, rel=0.05)
    assert fit.patience.mean_s == pytest.approx(300, rel=0.12)

    fitted = fitted_scenario(true, fit)
    assert fitted.file.callers.patience == Times(exponential_s=fit.patience.mean_s)
    assert scenario_model(fitted, BEFORE).groups[0].name == "social_security"
    replay = replay_records(fitted, fit, runner=Runner(), replications=2)
    before = {name: replay.comparison.values("before", name)[0] for name in replay.recorded}
    assert before["mean_wait_s"] == pytest.approx(replay.recorded["mean_wait_s"], rel=0.1)
    assert before["abandonment"] == pytest.approx(replay.recorded["abandonment"], abs=0.02)
    assert before["service_level"] == pytest.approx(replay.recorded["service_level"], abs=0.03)
    trace = trace_of(fitted, fit)
    assert len(trace.arrival_s) == len(fit.records)
    assert recorded_values(fit.records, answer_within_s=1e6)["service_level"] == pytest.approx(
        1 - fit.records.abandoned.mean()
    )


def test_too_few_calls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 30 of each"):
        fit_records(read(tmp_path, HEAD + GOOD))


def test_queues_that_nobody_answers_are_refused(tmp_path: Path) -> None:
    row = "2026-11-02 10:00:00,{},2026-11-02 10:04:00,consumer_rights\n"
    rows = row.format("2026-11-02 10:00:30") * 40 + row.format("") * 40
    fit = fit_records(read(tmp_path, HEAD + rows))
    with pytest.raises(ConfigError, match="consumer_rights, which no group"):
        fitted_scenario(scenario(), fit)
