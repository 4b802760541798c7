"""What the caller hears, in Mandarin and in Cantonese.

One open question, never a menu tree (GB/T 33358-2016). After a no-match or a no-input comes
first a prompt with examples, then a shorter one, then a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ivr.call.events import Prompt
from ivr.language import Language

__all__ = ["PROMPTS", "prompt", "spoken_s"]

_CMN, _YUE = Language.MANDARIN, Language.CANTONESE

#: prompt id -> text in each language; ``{queue}`` and ``{number}`` are filled in.
PROMPTS: Mapping[str, Mapping[Language, str]] = MappingProxyType(
    {
        "greeting": {
            _CMN: "您好，广州12345热线。请直接说出您要办的事情，普通话、广州话都可以。",
            _YUE: "你好，广州12345热线。请直接讲你想办乜嘢事，普通话、广州话都得。",
        },
        "ask_again": {
            _CMN: "对不起，我没听明白。您可以说，比如：我要查社保，或者：有人占了我的车位。",
            _YUE: "唔好意思，我听唔明。你可以讲，例如：我想查吓社保，或者：有人霸咗我车位。",
        },
        "ask_again_short": {
            _CMN: "对不起，请您再说一次，或者说“人工”。",
            _YUE: "唔好意思，请你再讲一次，或者讲“人工”。",
        },
        "no_input": {
            _CMN: "我没有听到您的声音。请说出您要办的事情，或者说“人工”。",
            _YUE: "我听唔到你讲嘢。请讲你想办乜嘢事，或者讲“人工”。",
        },
        "no_input_short": {
            _CMN: "请问您还在吗？请说出您要办的事情。",
            _YUE: "请问你仲喺唔喺度？请讲你想办乜嘢事。",
        },
        "confirm": {
            _CMN: "请问您是要找{queue}吗？",
            _YUE: "请问你系唔系想揾{queue}？",
        },
        "confirm_first": {
            _CMN: "您说了不止一件事，一件一件来：先转{queue}，好吗？",
            _YUE: "你讲咗唔止一样嘢，逐样嚟：先转去{queue}，好唔好？",
        },
        "confirm_again": {
            _CMN: "要转到{queue}，请说“是”；不是的话，请直接说您要办的事情。",
            _YUE: "要转去{queue}，请讲“系”；唔系嘅话，请直接讲你想办乜嘢事。",
        },
        "emergency_offer": {
            _CMN: "这是紧急情况，马上为您转接{number}，好吗？",
            _YUE: "呢个系紧急情况，即刻帮你转接{number}，好唔好？",
        },
        "emergency_route": {
            _CMN: "正在为您转接{number}，请不要挂断。",
            _YUE: "而家帮你转接{number}，请唔好收线。",
        },
        "route": {
            _CMN: "好的，正在为您转接{queue}，请稍候。",
            _YUE: "好嘅，而家帮你转接{queue}，请等等。",
        },
        "route_closed": {
            _CMN: "现在不是该坐席的服务时间，正在为您转接{queue}，请稍候。",
            _YUE: "而家唔系嗰边嘅服务时间，帮你转接{queue}，请等等。",
        },
        "person": {
            _CMN: "好的，正在为您转接人工坐席，请稍候。",
            _YUE: "好嘅，而家帮你转接人工，请等等。",
        },
        "person_limit": {
            _CMN: "为了更好地帮到您，正在为您转接人工坐席，请稍候。",
            _YUE: "为咗更好噉帮到你，而家帮你转接人工，请等等。",
        },
        "closed": {
            _CMN: "现在不是服务时间，请您在服务时间内再打来。再见。",
            _YUE: "而家唔系服务时间，请你喺服务时间再打嚟。再见。",
        },
    }
)

# Broadcast speech runs at about 4.5 syllables a second; a character here is one syllable, and
# punctuation is about as long a pause.
_CHARACTERS_PER_S = 4.5


def prompt(id_: str, language: Language, *, queue: str = "", number: str = "") -> Prompt:
    """The prompt ``id_`` in ``language``.

    Args:
        queue: the spoken name of a queue in that language.
        number: an emergency number, read digit by digit (110 as ``1 1 0``).

    Raises:
        KeyError: there is no such prompt.
    """
    text = PROMPTS[id_][language].format(queue=queue, number=" ".join(number))
    return Prompt(id=id_, text=text, language=language)


def spoken_s(text: str) -> float:
    """About how long ``text`` takes to say, seconds; for gateways that do not report it."""
    return len(text.replace(" ", "")) / _CHARACTERS_PER_S
