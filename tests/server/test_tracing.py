"""Traces of real calls, received by a collector over a real socket."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ivr.server.app import KapokServer
from ivr.server.conversation import Services
from ivr.server.operations import Operations
from tests.server.installation import Installation
from tests.server.test_operations import call


def attributes(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


async def test_a_call_is_a_trace_with_its_utterances(
    services: Services, installation: Installation
) -> None:
    spans: list[Any] = []

    async def collect(request: web.Request) -> web.Response:
        got = ExportTraceServiceRequest.FromString(await request.read())
        for resource in got.resource_spans:
            for scope in resource.scope_spans:
                spans.extend(scope.spans)
        return web.Response()

    collector = web.Application()
    collector.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(collector)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = installation.settings()
    limits = {"traces_url": f"http://127.0.0.1:{port}/v1/traces"}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=limits)})
    operations = Operations(settings, catalogue=services.catalogue)
    async with KapokServer(services, settings, operations=operations) as server:
        await call(server.url, call_id="CA-5")
    await runner.cleanup()
    (root,) = [span for span in spans if span.name == "call"]
    heard = [span for span in spans if span.name == "utterance"]
    assert attributes(root)["kapok.call_id"] == "CA-5"
    assert attributes(root)["kapok.queue"] == "social_security"
    assert {span.parent_span_id for span in heard} == {root.span_id}
    assert "route" in {attributes(span).get("kapok.decision") for span in heard}
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in heard)
    assert "社保" not in str(spans)


@pytest.mark.filterwarnings("ignore")
async def test_a_collector_that_is_gone_disturbs_no_call(
    services: Services, installation: Installation
) -> None:
    settings = installation.settings()
    limits = {"traces_url": "http://127.0.0.1:1/v1/traces"}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=limits)})
    operations = Operations(settings, catalogue=services.catalogue)
    async with KapokServer(services, settings, operations=operations) as server:
        replies = await call(server.url)
    assert [r["queue"] for r in replies if r.get("text")] == ["social_security"]
