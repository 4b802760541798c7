"""What the caller hears, in Mandarin and in Cantonese: the texts, and the pieces they are cut into.

One open question, never a menu tree (GB/T 33358-2016). After a no-match or a no-input comes
first a prompt with examples, then a shorter one, then a person.

An operator edits the texts in ``config/prompts/prompts.yaml``; what that file leaves out is as in
:data:`PROMPTS`. A text with a gap (``{queue}``, ``{number}``, ``{minutes}``) is played from
pieces: ``confirm_1``, ``queue_social_security``, ``confirm_2``. Each is one audio file, see
:mod:`ivr.call.prompt_audio`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import cn2an
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from ivr.call.events import Piece, Prompt
from ivr.language import Language
from ivr.yamlsource import Fault, YamlSource, parse_yaml, read_yaml, refuse, validate

__all__ = [
    "EMERGENCY_NUMBERS",
    "MINUTES",
    "PROMPTS",
    "PROMPTS_FILE",
    "PromptTexts",
    "load_prompts",
    "parse_prompts",
    "prompt",
    "rounded_minutes",
    "spoken_s",
]

PROMPTS_FILE = "prompts.yaml"

_CMN, _YUE = Language.MANDARIN, Language.CANTONESE

#: prompt id -> text in each language; ``{queue}``, ``{number}`` and ``{minutes}`` are filled in.
PROMPTS: Mapping[str, Mapping[Language, str]] = MappingProxyType(
    {
        "greeting": {
            _CMN: "您好，请讲出您要办理的事情。",
            _YUE: "你好，请讲出你想办嘅事。",
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
            _CMN: "要转到{queue}，请说“是”或者按一；不是的话，请按二，或者直接说您要办的事情。",
            _YUE: "要转去{queue}，请讲“系”或者按一；唔系嘅话，请按二，或者直接讲你想办乜嘢事。",
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
        "wait_offer": {
            _CMN: "现在大概要等{minutes}。要我们稍后打回给您吗？"
            "请说“要”或者“不要”，也可以按一或者按二。",
            _YUE: "而家大概要等{minutes}。使唔使我哋迟啲打返畀你？"
            "请讲“要”或者“唔使”，亦都可以按一或者按二。",
        },
        "wait_offer_long": {
            _CMN: "现在要等一个小时以上。要我们稍后打回给您吗？"
            "请说“要”或者“不要”，也可以按一或者按二。",
            _YUE: "而家要等一个钟以上。使唔使我哋迟啲打返畀你？"
            "请讲“要”或者“唔使”，亦都可以按一或者按二。",
        },
        "callback": {
            _CMN: "好的，我们会尽快打回给您。再见。",
            _YUE: "好嘅，我哋会尽快打返畀你。拜拜。",
        },
        "language": {
            _CMN: "好的，请用普通话讲出您要办理的事情。",
            _YUE: "好嘅，请用广州话讲出你想办嘅事。",
        },
        "slower": {
            _CMN: "好的，我说慢一点。请讲出您要办理的事情，慢慢说，不着急。",
            _YUE: "好嘅，我讲慢啲。请讲出你想办嘅事，慢慢讲，唔使急。",
        },
        "closed": {
            _CMN: "现在不是服务时间，请您在服务时间内再打来。再见。",
            _YUE: "而家唔系服务时间，请你喺服务时间再打嚟。再见。",
        },
    }
)

#: Numbers with a recording, and how each is read out (1 is 幺 in Mandarin, on the telephone).
EMERGENCY_NUMBERS: Mapping[str, Mapping[Language, str]] = MappingProxyType(
    {
        "110": {_CMN: "幺幺零", _YUE: "一一零"},
        "119": {_CMN: "幺幺九", _YUE: "一一九"},
        "120": {_CMN: "幺二零", _YUE: "一二零"},
        "122": {_CMN: "幺二二", _YUE: "一二二"},
    }
)
#: Waits that are told, minutes: a wait is rounded up to the next, since nobody minds less.
MINUTES = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 30, 40, 50, 60)

# Broadcast speech runs at about 4.5 syllables a second; a character here is one syllable, and
# punctuation is about as long a pause.
_CHARACTERS_PER_S = 4.5
_PAUSES = "，。！？、；：“”,.!?;: "


def spoken_s(text: str) -> float:
    """About how long ``text`` takes to say, seconds; for gateways that do not report it."""
    return len(text.replace(" ", "")) / _CHARACTERS_PER_S


def rounded_minutes(wait_s: float) -> int | None:
    """The wait as it is told, minutes; None where it is longer than any that is told."""
    return next((minutes for minutes in MINUTES if wait_s <= 60 * minutes), None)


def _minutes_text(minutes: int) -> str:
    return "两分钟" if minutes == 2 else f"{cn2an.an2cn(minutes)}分钟"


@dataclass(frozen=True, slots=True)
class PromptTexts:
    """The texts of an installation; ``texts`` holds every id of :data:`PROMPTS`."""

    texts: Mapping[str, Mapping[Language, str]] = field(default_factory=lambda: PROMPTS)

    def prompt(
        self,
        id_: str,
        language: Language,
        *,
        queue: tuple[str, str] | None = None,
        number: str | None = None,
        minutes: int | None = None,
        slow: bool = False,
    ) -> Prompt:
        """The prompt ``id_`` in ``language``.

        Args:
            queue: id of a queue, and its spoken name in that language.
            number: an emergency number; the text has it digit by digit (110 as ``1 1 0``).
            minutes: a wait, one of :data:`MINUTES`.
            slow: played slowly.

        Raises:
            KeyError: there is no such prompt, or a gap of it is not given.
        """
        gaps: dict[str, tuple[str, Piece]] = {}
        if queue is not None:
            gaps["queue"] = (queue[1], Piece(f"queue_{queue[0]}", queue[1]))
        if number is not None:
            said = EMERGENCY_NUMBERS.get(number, {}).get(language, number)
            gaps["number"] = (" ".join(number), Piece(f"number_{number}", said))
        if minutes is not None:
            said = _minutes_text(minutes)
            gaps["minutes"] = (said, Piece(f"minutes_{minutes}", said))
        text = self.texts[id_][language]
        pieces = tuple(
            gaps[part.gap][1] if part.gap else Piece(part.name, part.text)
            for part in _parts(id_, text)
        )
        shown = text.format(**{name: gap[0] for name, gap in gaps.items()})
        return Prompt(id=id_, text=shown, language=language, pieces=pieces, slow=slow)

    def pieces(
        self, language: Language, queues: Mapping[str, str], numbers: Iterable[str] | None = None
    ) -> Iterator[Piece]:
        """Every piece that a call may play in ``language``.

        Args:
            queues: id -> spoken name of each queue.
            numbers: emergency numbers in use; all of :data:`EMERGENCY_NUMBERS` without.
        """
        for id_, texts in self.texts.items():
            for part in _parts(id_, texts[language]):
                if part.gap is None:
                    yield Piece(part.name, part.text)
        for queue, name in queues.items():
            yield Piece(f"queue_{queue}", name)
        for number in EMERGENCY_NUMBERS if numbers is None else numbers:
            yield Piece(f"number_{number}", EMERGENCY_NUMBERS[number][language])
        for minutes in MINUTES:
            yield Piece(f"minutes_{minutes}", _minutes_text(minutes))


_BUILT_IN = PromptTexts()


def prompt(
    id_: str,
    language: Language,
    *,
    queue: tuple[str, str] | None = None,
    number: str | None = None,
    minutes: int | None = None,
) -> Prompt:
    """A prompt in the words of :data:`PROMPTS`; see :meth:`PromptTexts.prompt`."""
    return _BUILT_IN.prompt(id_, language, queue=queue, number=number, minutes=minutes)


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a text, or a gap in it."""

    name: str
    text: str
    gap: str | None = None


def _parts(id_: str, text: str) -> Iterator[_Part]:
    """``confirm``, ``请问您是要找{queue}吗？`` -> confirm_1, the gap queue, confirm_2."""
    cut = [(words, gap) for words, gap, _, _ in string.Formatter().parse(text)]
    whole = all(gap is None for _, gap in cut)
    count = 0
    for words, gap in cut:
        if words.strip(_PAUSES):  # a full stop alone is nothing to record
            count += 1
            yield _Part(id_ if whole else f"{id_}_{count}", words)
        if gap is not None:
            yield _Part("", "", gap)


# --- the operator's texts -------------------------------------------------------------------


def _check_text(text: str) -> str:
    said = text.strip()
    if not said.strip(_PAUSES):
        raise refuse("the text is empty", "write what the caller is to hear")
    if not re.search(r"[\u3400-\u9fff]", said):
        raise refuse(f"no Chinese character in {said[:30]!r}", "write what the caller is to hear")
    return said


class _Texts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    cmn: Annotated[str, AfterValidator(_check_text)] = Field(
        examples=["cmn: 您好，请讲出您要办理的事情。"]
    )
    yue: Annotated[str, AfterValidator(_check_text)] = Field(
        examples=["yue: 你好，请讲出你想办嘅事。"]
    )


_File: type[BaseModel] = create_model(
    "_File",
    __config__=ConfigDict(frozen=True, extra="forbid"),
    **dict.fromkeys(PROMPTS, (_Texts, None)),  # type: ignore[call-overload]
)


def load_prompts(folder: Path | str) -> PromptTexts:
    """The texts of ``folder/prompts.yaml``, those of :data:`PROMPTS` where there is no such file.

    Raises:
        ConfigError: every fault of the file, one a line:
            ``file:line:column: what is wrong; how to mend it``.
    """
    path = Path(folder) / PROMPTS_FILE
    return _texts(read_yaml(path)) if path.exists() else PromptTexts()


def parse_prompts(text: str, *, name: str = PROMPTS_FILE) -> PromptTexts:
    """The texts that a file of that content would give; raises ConfigError as :func:`load_prompts`.

    ``name`` is what messages call the file.
    """
    return _texts(parse_yaml(text, name=name))


def _texts(source: YamlSource) -> PromptTexts:
    read = validate(_File, source, checks=(_gaps,))
    texts = {id_: dict(built_in) for id_, built_in in PROMPTS.items()}
    for id_ in PROMPTS:
        given: _Texts | None = getattr(read, id_)
        if given is not None:
            texts[id_] = {_CMN: given.cmn, _YUE: given.yue}
    return PromptTexts(MappingProxyType(texts))


def _gaps(source: YamlSource) -> Iterator[Fault]:
    """A text keeps the gaps of the built-in one, each of them once."""
    for id_, built_in in PROMPTS.items():
        for language in Language:
            path = (id_, str(language))
            text: Any = source.get(path)
            if not isinstance(text, str):
                continue
            wanted = _named_gaps(built_in[language])
            place = source.value_place(path)
            try:
                found = _named_gaps(text)
            except ValueError:
                yield Fault(place, "a brace { or } without its partner", _gap_mend(wanted))
                continue
            if sorted(found) != sorted(wanted):
                shown = " ".join("{" + gap + "}" for gap in found) or "no gap"
                yield Fault(place, f"{id_} has {shown}", _gap_mend(wanted))


def _gap_mend(wanted: list[str]) -> str:
    if not wanted:
        return "write it without { and }"
    return f"write {' and '.join('{' + gap + '}' for gap in wanted)} once, where it is to be said"


def _named_gaps(text: str) -> list[str]:
    parts = list(string.Formatter().parse(text))
    if any(form or convert for _, _, form, convert in parts):
        raise ValueError(text)
    return [gap for _, gap, _, _ in parts if gap is not None]
