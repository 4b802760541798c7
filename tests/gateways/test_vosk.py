import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.asr.engine import Hypothesis, Word
from ivr.audio.codecs import Encoding
from ivr.call.turn import Final
from ivr.gateways.gateway import (
    Audio,
    Close,
    Digit,
    Finished,
    Partial,
    Refused,
    Started,
    StopPlaying,
    StreamChanged,
    StreamConfig,
)
from ivr.gateways.vosk import (
    VoskConfig,
    VoskGateway,
    final_message,
    partial_message,
)
from ivr.language import Language


def configured(**keys: object) -> VoskConfig:
    gateway = VoskGateway()
    assert gateway.receive(json.dumps({"config": keys})) == []
    return gateway.config


def refusal(message: str | bytes, gateway: VoskGateway | None = None) -> str:
    (item,) = (gateway or VoskGateway()).receive(message)
    assert isinstance(item, Refused), item
    assert not item.closes
    return item.reason


def after_start(message: str | bytes) -> object:
    """The one item of a first message, after the start that it implies."""
    started, item = VoskGateway().receive(message)
    assert started == Started(stream=StreamConfig())
    return item


# --- what comes in --------------------------------------------------------------------------


def test_the_defaults_are_those_of_vosk_server() -> None:
    assert VoskGateway().config == VoskConfig(
        rate_hz=8000, encoding=Encoding.S16LE, language=None, words=True, max_alternatives=0
    )


@pytest.mark.parametrize("rate", [16000, 16000.0, "16000", "16000.0"])
def test_the_rate_may_be_a_number_or_text(rate: object) -> None:
    assert configured(sample_rate=rate).rate_hz == 16000


def test_every_key_is_taken() -> None:
    assert configured(
        sample_rate=8000,
        words=False,
        max_alternatives=3,
        phrase_list=["社保"],
        model="other",
        encoding="mulaw",
        language="yue",
        call_id=" call\n7 ",
        unheard_of=True,
        caller="020 8123 4567",
    ) == VoskConfig(
        encoding=Encoding.MULAW,
        language=Language.CANTONESE,
        words=False,
        max_alternatives=3,
        call_id="call7",
        caller="020 8123 4567",
    )


def test_a_second_config_adds_to_the_first() -> None:
    gateway = VoskGateway()
    gateway.receive('{"config": {"sample_rate": 16000}}')
    gateway.receive('{"config": {"words": 0}}')
    assert (gateway.config.rate_hz, gateway.config.words) == (16000, False)


def test_language_auto_finds_out() -> None:
    assert configured(language="auto").language is None


@pytest.mark.parametrize("text", ['{"eof" : 1}', '{"eof":1}', ' { "eof": true } '])
def test_eof_is_json(text: str) -> None:
    assert after_start(text) == Finished(closes=True)


def test_reset_goes_on() -> None:
    assert after_start('{"reset" : 1}') == Finished(closes=False)


@pytest.mark.parametrize(("key", "digit"), [(5, "5"), ("#", "#"), ("a", "A")])
def test_a_digit(key: object, digit: str) -> None:
    assert after_start(json.dumps({"dtmf": key})) == Digit(digit)


def test_the_call_starts_with_the_first_message_that_is_answered() -> None:
    gateway = VoskGateway()
    gateway.receive('{"config": {"encoding": "mulaw", "call_id": "7", "max_alternatives": 2}}')
    stream = StreamConfig(encoding=Encoding.MULAW, alternatives=2)
    assert gateway.receive(bytes(160)) == [Started(stream=stream, call_id="7"), Audio(bytes(160))]
    assert gateway.receive(bytes(2)) == [Audio(bytes(2))]


def test_the_stream_may_change_until_audio_has_come() -> None:
    gateway = VoskGateway()
    gateway.receive('{"dtmf": 1}')
    changed = gateway.receive('{"config": {"sample_rate": 16000}}')
    assert changed == [StreamChanged(StreamConfig(rate_hz=16_000))]


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("hello", "not JSON: 'hello'; audio is due as binary"),
        ("", "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ("3", "not a JSON object"),
        ("{}", "none of config, eof, reset or dtmf; audio is due as binary"),
        ('{"eof": 0}', "none of config"),
        ('{"config": 7}', "config: an object is due, not '7'"),
        ('{"config": {"sample_rate": "fast"}}', "sample_rate 'fast' is not a number"),
        ('{"config": {"sample_rate": true}}', "is not a number"),
        ('{"config": {"sample_rate": 3999}}', "outside 4000 to 192000 Hz; telephone audio is 8000"),
        ('{"config": {"sample_rate": 1e99}}', "outside 4000 to 192000"),
        ('{"config": {"sample_rate": NaN}}', "outside 4000 to 192000"),
        ('{"config": {"encoding": "mp3"}}', "unknown audio encoding 'mp3': use one of"),
        ('{"config": {"language": "eng"}}', "language 'eng' is not known; use cmn, yue or auto"),
        ('{"config": {"max_alternatives": -1}}', "max_alternatives '-1' is not a count"),
        ('{"config": {"max_alternatives": Infinity}}', "is not a count"),
        ('{"config": {"call_id": "\\n"}}', "call_id is empty"),
        ('{"dtmf": "12"}', "dtmf: '12' is not one of"),
        ("x" * 100_000, "text message of 100000 characters"),
        ("[" * 60_000, "not JSON"),
    ],
)
def test_a_refusal_says_what_and_how(message: str, what: str) -> None:
    assert what in refusal(message)


def test_too_much_audio_at_a_time_is_refused() -> None:
    gateway = VoskGateway(max_frame_bytes=1000)
    assert "1001 bytes; send at most 1000" in refusal(bytes(1001), gateway)
    assert gateway.receive(bytes(1000))[-1] == Audio(bytes(1000))


def test_the_rate_cannot_change_after_audio() -> None:
    gateway = VoskGateway()
    gateway.receive(bytes(2))
    reason = refusal('{"config": {"sample_rate": 16000}}', gateway)
    assert "sample_rate cannot change after audio" in reason
    assert gateway.receive('{"config": {"sample_rate": 8000}}') == []
    assert gateway.receive('{"config": {"words": false}}') == []


def test_a_refused_config_changes_nothing() -> None:
    gateway = VoskGateway()
    refusal('{"config": {"words": false, "encoding": "mp3"}}', gateway)
    assert gateway.config == VoskConfig()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["config", "eof", "reset", "dtmf", "sample_rate", "encoding"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text() | st.binary(max_size=64) | json_values.map(json.dumps), max_size=6))
def test_no_message_breaks_the_protocol(messages: list[str | bytes]) -> None:
    gateway = VoskGateway()
    for message in messages:
        for item in gateway.receive(message):
            if isinstance(item, Refused):
                (answer,) = gateway.send(item)
                assert json.loads(str(answer)) == {"error": item.reason}
        assert 4000 <= gateway.config.rate_hz <= 192_000


# --- what goes out --------------------------------------------------------------------------


def hypothesis(*words: str, score: float = -12.5) -> Hypothesis:
    timed = tuple(Word(w, 0.5 * i, 0.5 * i + 0.4, 0.9) for i, w in enumerate(words))
    return Hypothesis("".join(words), timed, score, 0.8)


NBEST = [hypothesis("我", "想", "查"), hypothesis("我", "查", score=-14.0)]


def test_a_partial() -> None:
    assert partial_message("") == '{"partial" : ""}'
    assert json.loads(partial_message("我 想")) == {"partial": "我 想"}


def test_a_final_with_words_on_the_clock_of_the_stream() -> None:
    message = json.loads(final_message(NBEST, config=VoskConfig(), offset_s=10.0))
    assert message["text"] == "我 想 查"
    assert message["result"][1] == {"conf": 0.9, "end": 10.9, "start": 10.5, "word": "想"}
    assert set(message) == {"result", "text"}


def test_a_final_without_words() -> None:
    message = json.loads(final_message(NBEST, config=VoskConfig(words=False)))
    assert message == {"text": "我 想 查"}


def test_alternatives() -> None:
    config = VoskConfig(max_alternatives=5)
    message = json.loads(final_message(NBEST, config=config, offset_s=1.0))
    assert [a["text"] for a in message["alternatives"]] == ["我 想 查", "我 查"]
    assert message["alternatives"][0]["confidence"] == -12.5
    assert message["alternatives"][1]["result"][1] == {"end": 1.9, "start": 1.5, "word": "查"}
    assert message["text"] == "我 想 查"


def test_alternatives_are_at_most_as_many_as_asked_for() -> None:
    message = json.loads(final_message(NBEST, config=VoskConfig(max_alternatives=1)))
    assert len(message["alternatives"]) == 1


def test_a_final_with_nothing_is_as_vosk_writes_it() -> None:
    assert final_message((), config=VoskConfig()) == '{"text" : ""}'
    empty = json.loads(final_message((), config=VoskConfig(max_alternatives=2)))
    assert empty["alternatives"] == [{"confidence": 1.0, "text": ""}]


def test_added_keys_never_displace_vosks_own() -> None:
    message = json.loads(
        final_message(NBEST, config=VoskConfig(), added={"text": "x", "queue": "general"})
    )
    assert (message["text"], message["queue"]) == ("我 想 查", "general")


texts = st.text(st.sampled_from("我想查社保a"), max_size=4)
added_values = st.recursive(
    st.none() | texts | st.floats(0, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(
    words=st.lists(st.sampled_from(["我", "社保"]), max_size=4),
    added=st.dictionaries(st.sampled_from(["queue", "call", "candidates"]), added_values),
    alternatives=st.integers(0, 3),
)
def test_freeswitch_takes_a_final_for_what_it_is(
    words: list[str], added: dict[str, object], alternatives: int
) -> None:
    """mod_vosk drops a reply with ``""`` in it, and takes one with ``"partial"`` for a partial."""
    heard = [hypothesis(*words), hypothesis()] if words else []
    config = VoskConfig(max_alternatives=alternatives)
    reply = final_message(heard, config=config, added=added)
    keys_empty = '"" :' in reply  # no key of ours is empty
    assert ('""' in reply) == (not words or keys_empty)
    assert '"partial"' not in reply


def test_an_answer_has_the_configuration_with_which_its_message_came() -> None:
    """Messages are read ahead of the recognition that answers them."""
    gateway = VoskGateway()
    gateway.receive('{"reset": 1}')
    gateway.receive('{"config": {"words": false}}')
    gateway.receive('{"reset": 1}')
    final = Final(hypotheses=tuple(NBEST), added={"queue": "general"})
    first, second = (json.loads(str(gateway.send(final)[0])) for _ in range(2))
    assert set(first) == {"result", "text", "queue"}
    assert set(second) == {"text", "queue"}


def test_only_answers_are_sent() -> None:
    gateway = VoskGateway()
    assert gateway.send(Partial("我 想")) == ['{"partial" : "我 想"}']
    assert gateway.send(StopPlaying()) == gateway.send(Close()) == []
