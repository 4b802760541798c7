"""What the server counts and measures, for Prometheus.

One :class:`Metrics` a server, with a registry of its own, is passed to whoever has something to
tell; nothing here is global. Names, units and label values follow Prometheus' own conventions
(https://prometheus.io/docs/practices/naming/): base units (seconds, bytes), ``_total`` for
counters, and labels from small closed sets alone. What comes from outside, such as a queue's id,
is checked against what is known before it becomes a label, so that no caller can make series.

All methods may be called from any thread, and none raises on account of a value.
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from ivr import __version__

__all__ = ["CONTENT_TYPE", "LATENCY_BUCKETS_S", "Live", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

#: Around the targets: a partial is due within 0.3 s, a decision within 1 s.
LATENCY_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
_LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_RATIO_BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0)
_CALL_BUCKETS_S: Final = (5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0)
_WAIT_BUCKETS_S: Final = (1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)

_OTHER: Final = "other"
_NONE: Final = "none"


class Live:
    """What is read at the moment of a scrape; the server fills it in. Each may be missing."""

    def __init__(self) -> None:
        #: (gateway, state) of every call under way
        self.calls: Callable[[], Collection[tuple[str, str]]] = lambda: ()
        #: audio received and not yet recognised, all calls together, seconds
        self.audio_waiting_s: Callable[[], float] = lambda: 0.0
        #: recognition jobs running or waiting for a worker
        self.recognition_jobs: Callable[[], int] = lambda: 0
        #: processes that recognise and are alive, and how many died so far; None: there are none
        self.workers: Callable[[], tuple[int, int] | None] = lambda: None
        #: tasks of the event loop
        self.tasks: Callable[[], int] = lambda: 0
        #: callers waiting by queue, of all nodes
        self.waiting: Callable[[], Mapping[str, int]] = dict
        #: expected wait by queue, seconds
        self.expected_waits_s: Callable[[], Mapping[str, float]] = dict
        #: 1 where new calls are taken
        self.ready: Callable[[], bool] = lambda: True
        #: records held in memory, and in the spool file, until the store takes them
        self.store_pending: Callable[[], tuple[int, int]] = lambda: (0, 0)


class Metrics:
    """The recorder.

    Args:
        queues: the ids that may become values of the label ``queue``; others count as ``other``.
        gateways: the same for ``gateway``.
    """

    def __init__(
        self, *, queues: Collection[str] = (), gateways: Collection[str] = ("vosk",)
    ) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.live = Live()
        self._queues = frozenset(queues)
        self._gateways = frozenset(gateways)
        self._make_calls()
        self._make_recognition()
        self._make_operations()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_LiveCollector(self.live, self._gateway, self._queue))

    def _make_calls(self) -> None:
        r = self.registry
        self._started = Counter("kapok_calls_started", "Calls answered.", ["gateway"], registry=r)
        self._ended = Counter(
            "kapok_calls_ended", "Calls over, by the state in which they ended.",
            ["gateway", "state"], registry=r,
        )  # fmt: skip
        self._refused = Counter(
            "kapok_calls_refused", "Calls not taken, by reason.", ["reason"], registry=r
        )
        self._call_s = Histogram(
            "kapok_call_duration_seconds", "How long calls last, from answer to end.",
            ["gateway"], buckets=_CALL_BUCKETS_S, registry=r,
        )  # fmt: skip
        self._decisions = Counter(
            "kapok_decisions", "Where calls were sent: action, and the queue where there is one.",
            ["gateway", "action", "queue"], registry=r,
        )  # fmt: skip
        self._queue_wait_s = Histogram(
            "kapok_queue_wait_seconds",
            "How long callers waited for an agent, by queue and by how it ended.",
            ["queue", "outcome"], buckets=_WAIT_BUCKETS_S, registry=r,
        )  # fmt: skip

    def _make_recognition(self) -> None:
        r = self.registry
        self._utterances = Counter(
            "kapok_utterances", "Utterances heard, by the language decided on.",
            ["language"], registry=r,
        )  # fmt: skip
        self._partial_s = Histogram(
            "kapok_partial_latency_seconds",
            "From a block of audio arriving to its partial result being sent.",
            buckets=LATENCY_BUCKETS_S, registry=r,
        )  # fmt: skip
        self._decision_s = Histogram(
            "kapok_decision_latency_seconds",
            "From the audio that ends an utterance arriving to its decision being sent.",
            buckets=LATENCY_BUCKETS_S, registry=r,
        )  # fmt: skip
        self._audio_s = Counter(
            "kapok_audio_received_seconds", "Audio received.", ["gateway"], registry=r
        )
        self._rtf = Histogram(
            "kapok_recognition_real_time_factor_ratio",
            "Seconds of computing for a second of audio, an utterance each, by language model.",
            ["language"], buckets=_RATIO_BUCKETS, registry=r,
        )  # fmt: skip
        self._second_pass = Counter(
            "kapok_second_pass_utterances",
            "Utterances where there is a second pass, by whether it heard them again.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self._failures = Counter(
            "kapok_recognition_failures", "Calls whose recognition failed; a person takes them.",
            registry=r,
        )  # fmt: skip

    def _make_operations(self) -> None:
        r = self.registry
        Info("kapok_build", "What is running.", registry=r).info(
            {"version": __version__, "python": platform.python_version()}
        )
        self._lag_s = Histogram(
            "kapok_event_loop_lag_seconds", "How late the event loop wakes a timer.",
            buckets=_LAG_BUCKETS_S, registry=r,
        )  # fmt: skip
        self._reloads = Counter(
            "kapok_config_reloads", "Edits of the queues taken up or refused.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self._reloaded = Gauge(
            "kapok_config_last_reload_success_timestamp_seconds",
            "When an edit of the queues was last taken up, Unix time.", registry=r,
        )  # fmt: skip
        self._requests = Counter(
            "kapok_http_requests", "Requests to the HTTP port.", ["route", "code"], registry=r
        )
        self._denied = Counter(
            "kapok_access_denied", "Connections and requests turned away, by reason.",
            ["reason"], registry=r,
        )  # fmt: skip
        self._webhooks = Counter(
            "kapok_webhook_deliveries", "Decisions posted to webhooks, by outcome.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self._store_written = Counter(
            "kapok_store_records_written", "Call records that the store has taken.", registry=r
        )
        self._store_lost = Counter(
            "kapok_store_records_lost", "Call records dropped: store gone and spool full.",
            registry=r,
        )  # fmt: skip
        self._store_failures = Counter(
            "kapok_store_failures", "Failed attempts to write to the store.", registry=r
        )

    # --- calls ---------------------------------------------------------------------------

    def call_started(self, gateway: str) -> None:
        """A call was answered."""
        self._started.labels(self._gateway(gateway)).inc()

    def call_ended(self, gateway: str, state: str, *, duration_s: float) -> None:
        """A call is over; ``state`` is the one before the end, such as ``routing``."""
        name = self._gateway(gateway)
        self._ended.labels(name, state).inc()
        self._call_s.labels(name).observe(max(0.0, duration_s))

    def call_refused(self, reason: str) -> None:
        """A call was not taken: ``busy``, ``draining``, ``shedding``, ``denied``, ``rate``."""
        self._refused.labels(reason).inc()

    def decided(self, gateway: str, action: str, queue: str | None) -> None:
        """A call was sent somewhere."""
        self._decisions.labels(self._gateway(gateway), action, self._queue(queue)).inc()

    def queue_left(self, queue: str, outcome: str, *, wait_s: float) -> None:
        """A caller left a queue: ``answered`` or ``abandoned`` after ``wait_s`` seconds."""
        self._queue_wait_s.labels(self._queue(queue), outcome).observe(max(0.0, wait_s))

    # --- recognition ---------------------------------------------------------------------

    def audio(self, gateway: str, seconds: float) -> None:
        """Audio was received."""
        self._audio_s.labels(self._gateway(gateway)).inc(max(0.0, seconds))

    def partial(self, latency_s: float) -> None:
        """A partial result was sent."""
        self._partial_s.observe(max(0.0, latency_s))

    def utterance(self, language: str | None, *, latency_s: float) -> None:
        """An utterance was decided on and answered; ``language`` None where nothing was said."""
        self._utterances.labels(language or _NONE).inc()
        self._decision_s.observe(max(0.0, latency_s))

    def real_time_factor(self, language: str, *, computed_s: float, audio_s: float) -> None:
        """A language's model computed ``computed_s`` for ``audio_s`` of audio."""
        if audio_s > 0:
            self._rtf.labels(language).observe(computed_s / audio_s)

    def second_pass(self, outcome: str) -> None:
        """An utterance was heard ``again``, need not be (``sure``), or was not (``busy``)."""
        self._second_pass.labels(outcome).inc()

    def recognition_failed(self) -> None:
        """A call's recognition cannot go on."""
        self._failures.inc()

    # --- operations ----------------------------------------------------------------------

    def loop_lag(self, seconds: float) -> None:
        """A timer of the event loop came so late."""
        self._lag_s.observe(max(0.0, seconds))

    def reloaded(self, *, taken: bool, queues: Collection[str] | None = None) -> None:
        """An edit of the queues was taken up, with these ids, or refused."""
        self._reloads.labels("taken" if taken else "refused").inc()
        if taken:
            self._reloaded.set_to_current_time()
        if queues is not None:
            self._queues = frozenset(queues)

    def request(self, route: str, code: int) -> None:
        """A request to the HTTP port was answered; ``route`` is the pattern, not the path."""
        self._requests.labels(route, str(code)).inc()

    def denied(self, reason: str) -> None:
        """Why one was turned away: ``token``, ``role``, ``origin``, ``rate``, ``connections``;
        ``silent`` where a connection was no call for too long while others came."""
        self._denied.labels(reason).inc()

    def webhook(self, outcome: str) -> None:
        """A webhook was ``delivered``, ``retried`` or ``given_up``."""
        self._webhooks.labels(outcome).inc()

    def store_wrote(self, records: int) -> None:
        """The store has taken records."""
        self._store_written.inc(records)

    def store_lost(self, records: int) -> None:
        """Records were dropped."""
        self._store_lost.inc(records)

    def store_failed(self) -> None:
        """An attempt to write to the store failed; it is repeated."""
        self._store_failures.inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format; its type is :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _gateway(self, name: str) -> str:
        return name if name in self._gateways else _OTHER

    def _queue(self, queue: str | None) -> str:
        if queue is None:
            return _NONE
        return queue if queue in self._queues else _OTHER


class _LiveCollector(Collector):
    """Reads :class:`Live` when Prometheus asks."""

    def __init__(
        self, live: Live, gateway: Callable[[str], str], queue: Callable[[str | None], str]
    ) -> None:
        self._live = live
        self._gateway, self._queue = gateway, queue

    def describe(self) -> Iterator[Metric]:
        return iter(())  # read at a scrape alone, not when it is registered

    def collect(self) -> Iterator[Metric]:
        yield self._calls()
        yield _gauge(
            "kapok_ready", "1 where new calls are taken, 0 where not.", float(self._live.ready())
        )
        yield _gauge(
            "kapok_audio_waiting_seconds",
            "Audio received and not yet recognised, all calls together.",
            self._live.audio_waiting_s(),
        )
        yield _gauge(
            "kapok_recognition_jobs",
            "Recognition jobs running or waiting for a worker.",
            self._live.recognition_jobs(),
        )
        yield from self._workers()
        yield _gauge(
            "kapok_event_loop_tasks",
            "Tasks of the event loop: a few for each call, and those of the server itself.",
            self._live.tasks(),
        )
        yield self._by_queue(
            "kapok_queue_callers_waiting", "Callers in the queue.", self._live.waiting()
        )
        yield self._by_queue(
            "kapok_queue_expected_wait_seconds",
            "What a caller is told to expect.",
            self._live.expected_waits_s(),
        )
        memory, spool = self._live.store_pending()
        pending = GaugeMetricFamily(
            "kapok_store_records_pending", "Records the store has not taken yet.", labels=["where"]
        )
        pending.add_metric(["memory"], memory)
        pending.add_metric(["spool"], spool)
        yield pending

    def _workers(self) -> Iterator[Metric]:
        alive = GaugeMetricFamily(
            "kapok_recognition_workers", "Processes that recognise and are alive."
        )
        died = CounterMetricFamily(
            "kapok_recognition_worker_restarts",
            "Processes that recognised and died; another is started in the place of each.",
        )
        workers = self._live.workers()
        if workers is not None:
            alive.add_metric([], workers[0])
            died.add_metric([], workers[1])
        yield from (alive, died)

    def _calls(self) -> Metric:
        family = GaugeMetricFamily(
            "kapok_calls", "Calls under way, by state.", labels=["gateway", "state"]
        )
        tally = Tally((self._gateway(gateway), state) for gateway, state in self._live.calls())
        for (gateway, state), count in sorted(tally.items()):
            family.add_metric([gateway, state], count)
        return family

    def _by_queue(self, name: str, text: str, values: Mapping[str, float]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=["queue"])
        for queue, value in sorted(values.items()):
            if self._queue(queue) != _OTHER:
                family.add_metric([queue], value)
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family
