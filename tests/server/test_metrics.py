"""The metrics, as Prometheus' own parser reads them."""

from __future__ import annotations

import re

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ivr.asr.engine import SecondPassOutcome
from ivr.server.metrics import Metrics

#: Units that Prometheus' conventions know; a name that measures something ends in one.
UNITS = ("_seconds", "_bytes", "_ratio", "_total", "_info")
#: What counts things that are there now, and needs no unit.
COUNTS = {
    "kapok_calls",
    "kapok_ready",
    "kapok_recognition_jobs",
    "kapok_recognition_workers",
    "kapok_event_loop_tasks",
    "kapok_queue_callers_waiting",
    "kapok_store_records_pending",
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(queues=["general", "police"], gateways=["vosk", "twilio"])


def families(metrics: Metrics) -> dict[str, Metric]:
    text = metrics.text().decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    # When each series began; prometheus-client adds these.
    return {name: family for name, family in found.items() if not name.endswith("_created")}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    for family in families(metrics).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_every_metric_has_help_and_a_unit(metrics: Metrics) -> None:
    ours = [f for f in families(metrics).values() if f.name.startswith("kapok_")]
    assert len(ours) > 20
    for family in ours:
        assert family.documentation.endswith("."), family.name
        assert re.fullmatch(r"[a-z_]+", family.name)
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        assert name.endswith(UNITS) or name in COUNTS, name


def test_a_call(metrics: Metrics) -> None:
    metrics.call_started("twilio")
    metrics.audio("twilio", 2.5)
    metrics.partial(0.08)
    metrics.utterance("yue", latency_s=0.4)
    metrics.decided("twilio", "queue", "police")
    metrics.call_ended("twilio", "routing", duration_s=12.0)
    assert value(metrics, "kapok_calls_started_total", gateway="twilio") == 1
    assert value(metrics, "kapok_audio_received_seconds_total", gateway="twilio") == 2.5
    assert value(metrics, "kapok_partial_latency_seconds_bucket", le="0.1") == 1
    assert value(metrics, "kapok_partial_latency_seconds_bucket", le="0.05") == 0
    assert value(metrics, "kapok_decision_latency_seconds_sum") == pytest.approx(0.4)
    assert value(metrics, "kapok_utterances_total", language="yue") == 1
    assert (
        value(metrics, "kapok_decisions_total", gateway="twilio", action="queue", queue="police")
        == 1
    )
    assert value(metrics, "kapok_calls_ended_total", gateway="twilio", state="routing") == 1
    assert value(metrics, "kapok_call_duration_seconds_bucket", gateway="twilio", le="20.0") == 1


def test_what_is_live_is_read_at_the_scrape(metrics: Metrics) -> None:
    calls = [("vosk", "listening"), ("vosk", "listening"), ("twilio", "routing")]
    metrics.live.calls = lambda: calls
    metrics.live.audio_waiting_s = lambda: 3.5
    metrics.live.waiting = lambda: {"general": 4, "unheard_of": 9}
    metrics.live.ready = lambda: False
    metrics.live.store_pending = lambda: (3, 20)
    assert value(metrics, "kapok_calls", gateway="vosk", state="listening") == 2
    assert value(metrics, "kapok_audio_waiting_seconds") == 3.5
    assert value(metrics, "kapok_ready") == 0
    assert value(metrics, "kapok_queue_callers_waiting", queue="general") == 4
    assert value(metrics, "kapok_store_records_pending", where="spool") == 20
    assert value(metrics, "kapok_queue_callers_waiting", queue="unheard_of") is None
    calls.clear()
    assert value(metrics, "kapok_calls", gateway="vosk", state="listening") is None


def test_workers_where_there_are_any(metrics: Metrics) -> None:
    assert value(metrics, "kapok_recognition_workers") is None
    metrics.live.workers = lambda: (1, 3)
    assert value(metrics, "kapok_recognition_workers") == 1
    assert value(metrics, "kapok_recognition_worker_restarts_total") == 3


def test_nothing_from_outside_makes_series(metrics: Metrics) -> None:
    before = len(metrics.text())
    for number in range(50):
        metrics.decided(f"gateway{number}", "queue", f"queue{number}")
    assert (
        value(metrics, "kapok_decisions_total", gateway="other", action="queue", queue="other")
        == 50
    )
    assert len(metrics.text()) - before < 500


def test_a_new_queue_counts_by_its_name_after_a_reload(metrics: Metrics) -> None:
    metrics.reloaded(taken=False)
    metrics.reloaded(taken=True, queues=["pensions"])
    metrics.queue_left("pensions", "answered", wait_s=14.0)
    assert value(metrics, "kapok_config_reloads_total", outcome="refused") == 1
    assert (
        value(metrics, "kapok_queue_wait_seconds_count", queue="pensions", outcome="answered") == 1
    )


def test_real_time_factor(metrics: Metrics) -> None:
    metrics.real_time_factor("cmn", computed_s=0.3, audio_s=10.0)
    metrics.real_time_factor("cmn", computed_s=0.3, audio_s=0.0)  # nothing heard: no factor
    name = "kapok_recognition_real_time_factor_ratio"
    assert value(metrics, f"{name}_count", language="cmn") == 1
    assert value(metrics, f"{name}_sum", language="cmn") == pytest.approx(0.03)


def test_second_pass(metrics: Metrics) -> None:
    assert value(metrics, "kapok_second_pass_utterances_total", outcome="again") is None
    for outcome in (SecondPassOutcome.AGAIN, SecondPassOutcome.BUSY, SecondPassOutcome.AGAIN):
        metrics.second_pass(outcome)
    assert value(metrics, "kapok_second_pass_utterances_total", outcome="again") == 2
    assert value(metrics, "kapok_second_pass_utterances_total", outcome="busy") == 1


def test_two_servers_do_not_share(metrics: Metrics) -> None:
    metrics.call_refused("busy")
    assert value(Metrics(), "kapok_calls_refused_total", reason="busy") is None
