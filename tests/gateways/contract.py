"""What every gateway must keep to, whatever comes (``ivr/gateways/gateway.py``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TypeVar, get_args

from hypothesis import strategies as st

from ivr.gateways.gateway import (
    Audio,
    Digit,
    Gateway,
    HungUp,
    Inbound,
    Message,
    Played,
    Refused,
    Reply,
    Say,
    Started,
)
from ivr.language import Language

T = TypeVar("T")

__all__ = ["ANYTHING", "JSON", "hear", "mixed", "obeys", "only", "say"]

#: JSON of any shape, small.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
#: Messages that no protocol has.
ANYTHING = st.one_of(st.text(max_size=40), st.binary(max_size=40), JSON.map(json.dumps))


def mixed(real: Sequence[Message]) -> st.SearchStrategy[list[Message]]:
    """Messages of a real call in any order, repeated, missing, cut, and among anything else."""
    whole = st.sampled_from(list(real))
    cut = st.builds(lambda message, end: message[:end], whole, st.integers(0, 60))
    return st.lists(whole | cut | ANYTHING, max_size=12)


def obeys(gateway: Gateway, messages: Iterable[Message]) -> list[Inbound]:
    """Give ``messages``; assert the rules of the contract. All that came of them."""
    taken: list[Inbound] = []
    for message in messages:
        got = gateway.receive(message)
        assert isinstance(got, list)
        taken += got
    assert all(isinstance(item, get_args(Inbound)) for item in taken), taken
    begins = [i for i, item in enumerate(taken) if isinstance(item, Started)]
    assert len(begins) <= 1, taken
    free = (Reply, Refused, HungUp)
    before = taken[: begins[0]] if begins else taken
    assert all(isinstance(item, free) for item in before), taken
    for item in taken:
        match item:
            case Digit(digit):
                assert len(digit) == 1
                assert digit in "0123456789*#ABCD"
            case Refused():
                assert item.reason
                assert item.reason.isprintable()
            case Played(play_id):
                assert isinstance(play_id, str)
            case Audio(data):
                assert isinstance(data, bytes)
            case Started():
                assert item.call_id is None or item.call_id.isprintable()
                assert item.caller is None or item.caller.isprintable()
            case _:
                pass
    return taken


def hear(items: Iterable[Inbound]) -> bytes:
    """The audio among ``items``."""
    return b"".join(item.data for item in items if isinstance(item, Audio))


def only(items: Sequence[T]) -> T:
    """The one item."""
    assert len(items) == 1, items
    return items[0]


def say(seconds: float = 0.05, *, play_id: str = "p1", pcm: bytes | None = None) -> Say:
    """A prompt; a sawtooth of so many seconds where no ``pcm`` is given."""
    samples = (i % 2000 - 1000 for i in range(round(seconds * 8000)))
    sound = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    return Say(
        play_id=play_id,
        prompt_id="greeting",
        pcm=sound if pcm is None else pcm,
        text="您好",
        language=Language.MANDARIN,
    )
