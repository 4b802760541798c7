"""jambonz' listen verb, and the verbs that answer its webhooks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from ivr.call.decision import Action
from ivr.call.turn import Final
from ivr.gateways.gateway import Close, Digit, Played, Started, StopPlaying, StreamConfig
from ivr.gateways.jambonz import JambonzGateway, call_verbs, decision_verbs
from tests.gateways.contract import mixed, obeys, only
from tests.gateways.test_freeswitch import decision

# As jambonz-feature-server's listen task sends it.
ATTRIBUTES = {
    "sampleRate": 8000,
    "mixType": "mono",
    "callSid": "5ddf1a67-dd7b-4a9d-a5b9-c1c1a8c1f7f4",
    "direction": "inbound",
    "from": "+8613800138000",
    "to": "12345",
    "callId": "9a1b-123b@sip",
    "sipStatus": 200,
    "callStatus": "in-progress",
    "accountSid": "a-1",
}
CALL = [
    json.dumps(ATTRIBUTES),
    bytes(320),
    '{"event":"dtmf","dtmf":"0","duration":1600}',
    '{"type":"playDone","data":{"id":"greeting-1","playbackSeconds":"4"}}',
]


def test_a_call_of_jambonz() -> None:
    gateway = JambonzGateway()
    begun = only(gateway.receive(CALL[0]))
    assert isinstance(begun, Started)
    assert begun.stream == StreamConfig()
    assert (begun.call_id, begun.caller) == (ATTRIBUTES["callSid"], "+8613800138000")
    assert begun.parameters["to"] == "12345"
    assert gateway.receive(CALL[2]) == [Digit("0")]
    assert gateway.receive(CALL[3]) == [Played("greeting-1")]


def test_the_decision_waits_for_the_action_hook() -> None:
    gateway = JambonzGateway()
    assert gateway.send(decision()) == []
    assert gateway.send(Final()) == []
    assert gateway.send(StopPlaying()) == ['{"type": "killAudio"}']
    assert json.loads(only(gateway.send(Close())))["type"] == "disconnect"


@given(mixed(CALL))
@settings(max_examples=60)
def test_random_cut_and_reordered_messages(messages: list[str | bytes]) -> None:
    obeys(JambonzGateway(), messages)


def test_a_new_call_is_listened_to() -> None:
    answer, listen = call_verbs(stream_url="wss://kapok:2700/jambonz", decision_url="/decision")
    assert answer == {"verb": "answer"}
    assert (listen["verb"], listen["url"]) == ("listen", "wss://kapok:2700/jambonz")
    assert (listen["mixType"], listen["passDtmf"]) == ("mono", True)
    assert listen["actionHook"] == "/decision"


@pytest.mark.parametrize(
    ("action", "queue", "verb"),
    [
        (Action.QUEUE, "social_security", {"verb": "enqueue", "name": "social_security"}),
        (Action.PERSON, None, {"verb": "enqueue", "name": "general"}),
        (Action.HANG_UP, None, {"verb": "hangup"}),
        (Action.CALLBACK, None, {"verb": "hangup"}),
    ],
)
def test_what_is_done_with_the_call(action: Action, queue: str | None, verb: object) -> None:
    told = decision(action, queue).as_json()
    assert only(decision_verbs(told, person_queue="general")) == verb


def test_an_emergency_is_dialled() -> None:
    told = decision(Action.EMERGENCY, None).as_json() | {"number": "119"}
    verb = only(decision_verbs(told, person_queue="general"))
    assert verb == {"verb": "dial", "target": [{"type": "phone", "number": "119"}]}


def test_a_call_that_broke_off_goes_to_a_person() -> None:
    assert decision_verbs(None, person_queue="general") == [{"verb": "enqueue", "name": "general"}]
