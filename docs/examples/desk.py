"""An application beside Kapok: tells Twilio and Vonage to stream calls, and sends them on after it.

KAPOK_WEBHOOK_SECRET=… python docs/examples/desk.py --kapok wss://ivr.example --port 8080

Kapok posts its decisions to /kapok (webhook: in config/kapok.yaml). Twilio's number answers with
/twilio/answer, Vonage's application with /vonage/answer, both by POST.
"""

import argparse
import asyncio
import json
import os
import time
from xml.sax.saxutils import quoteattr

from aiohttp import web

from ivr.errors import ProtocolError
from ivr.server.webhook import SIGNATURE_HEADER, check

#: Agents' numbers by queue; yours.
AGENTS = {"social_security": "+862012345001", "general": "+862012345000"}
#: The gateway may be here before Kapok's webhook is.
PATIENCE_S = 1.0
KAPOK = web.AppKey("kapok", str)
routes = web.RouteTableDef()
decisions: dict[str, dict] = {}  # by the call's id; a real application has a database


async def decision_of(call_id: str) -> dict:
    """What was decided; empty where nothing is known of the call."""
    until_s = time.monotonic() + PATIENCE_S
    while call_id not in decisions and time.monotonic() < until_s:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return decisions.get(call_id, {})


def number_of(decision: dict) -> str:
    """Where a call goes: to a person where nothing is known."""
    if decision.get("action") == "emergency":
        return decision["number"]
    return AGENTS.get(decision.get("queue") or "", AGENTS["general"])


@routes.post("/kapok")
async def decided(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        secret = os.environ["KAPOK_WEBHOOK_SECRET"]
        check(secret, request.headers.get(SIGNATURE_HEADER, ""), body, now_s=time.time())
    except ProtocolError as error:
        return web.Response(status=403, text=str(error))
    decision = json.loads(body)  # the same one may come twice: keeping it again does no harm
    decisions[decision["call_id"]] = decision
    return web.Response(status=204)


@routes.post("/twilio/answer")
async def twilio_answer(request: web.Request) -> web.Response:
    caller = quoteattr((await request.post()).get("From", ""))
    return _twiml(f"""
  <Connect>
    <Stream url={quoteattr(request.app[KAPOK] + "/twilio")}>
      <Parameter name="caller" value={caller}/>
    </Stream>
  </Connect>
  <Redirect method="POST">/twilio/next</Redirect>""")


@routes.post("/twilio/next")
async def twilio_next(request: web.Request) -> web.Response:
    decision = await decision_of((await request.post())["CallSid"])
    if decision.get("action") == "hang_up":
        return _twiml("<Hangup/>")
    return _twiml(f"<Dial>{number_of(decision)}</Dial>")


def _twiml(verbs: str) -> web.Response:
    return web.Response(text=f"<Response>{verbs}\n</Response>", content_type="text/xml")


@routes.post("/vonage/answer")
async def vonage_answer(request: web.Request) -> web.Response:
    call = await request.json()
    endpoint = {
        "type": "websocket",
        "uri": request.app[KAPOK] + "/vonage",
        "content-type": "audio/l16;rate=8000",
        "headers": {"call_id": call["conversation_uuid"], "caller": call["from"]},
    }
    after = str(request.url.with_path("/vonage/next"))
    connect = {"action": "connect", "endpoint": [endpoint]}
    return web.json_response([connect | {"eventType": "synchronous", "eventUrl": [after]}])


@routes.post("/vonage/next")
async def vonage_next(request: web.Request) -> web.Response:
    event = await request.json()
    if event.get("status") not in ("disconnected", "failed", "unanswered"):
        return web.Response(status=204)  # it only tells: ringing, answered
    number = number_of(await decision_of(event["conversation_uuid"])).removeprefix("+")
    return web.json_response(
        [{"action": "connect", "endpoint": [{"type": "phone", "number": number}]}]
    )


def application(kapok: str) -> web.Application:
    app = web.Application()
    app[KAPOK] = kapok.rstrip("/")
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kapok", required=True)
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    web.run_app(application(arguments.kapok), port=arguments.port)
