"""OpenTelemetry traces: a span a call, and in it one for each utterance (the extra ``otel``).

``server.traces_url`` names a collector's OTLP/HTTP address, for example
``http://127.0.0.1:4318/v1/traces``. Without it nothing is traced, and OpenTelemetry need not be
installed. Spans go out in batches, off the event loop; while the collector is gone they are
dropped, and calls do not notice. No transcript, number or token is in a span.
"""

from __future__ import annotations

import time
from typing import Any, Final

from ivr import __version__
from ivr.call.decision import Decision
from ivr.errors import ConfigError
from ivr.extras import install

__all__ = ["CallTrace", "Tracing"]

_QUEUE: Final = 4_096  # spans that wait to be sent, at most


class CallTrace:
    """The trace of one call."""

    def __init__(self, tracer: Any = None, *, call_id: str = "", gateway: str = "") -> None:
        self._tracer = tracer
        self._span: Any = None
        if tracer is not None:
            attributes = {"kapok.call_id": call_id, "kapok.gateway": gateway}
            self._span = tracer.start_span("call", attributes=attributes)

    def utterance(self, *, latency_s: float, language: str | None, decision: str | None) -> None:
        """An utterance was answered just now, ``latency_s`` after its last audio came."""
        if self._span is None:
            return
        from opentelemetry import trace

        end_ns = time.time_ns()
        span = self._tracer.start_span(
            "utterance",
            context=trace.set_span_in_context(self._span),
            start_time=end_ns - int(latency_s * 1e9),
            attributes=_known(language=language, decision=decision),
        )
        span.end(end_ns)

    def decided(self, decision: Decision) -> None:
        """The gateway was told a decision."""
        if self._span is not None:
            told = _known(action=decision.action.value, queue=decision.queue)
            self._span.add_event("decided", told)
            self._span.set_attributes(told)

    def failed(self) -> None:
        """Recognition cannot go on."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, "recognition failed"))

    def end(self) -> None:
        """The call is over."""
        if self._span is not None:
            self._span.end()


class Tracing:
    """Makes traces and sends them.

    Args:
        url: of the collector; None traces nothing.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """

    def __init__(self, url: str | None = None) -> None:
        self._provider: Any = None
        self._tracer: Any = None
        if url is None:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigError(
                f"server.traces_url is set, and OpenTelemetry is not installed; {install('otel')}"
            ) from error
        resource = Resource.create({"service.name": "kapok", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=url, timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE))
        self._tracer = self._provider.get_tracer("kapok", __version__)

    def call(self, call_id: str, gateway: str) -> CallTrace:
        """The trace of a new call."""
        return CallTrace(self._tracer, call_id=call_id, gateway=gateway)

    def close(self) -> None:
        """Send what waits; blocks, for seconds where the collector is gone."""
        if self._provider is not None:
            self._provider.shutdown()


def _known(**values: str | None) -> dict[str, str]:
    return {f"kapok.{name}": value for name, value in values.items() if value is not None}
