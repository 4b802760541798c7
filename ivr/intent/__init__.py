"""From a transcript to a queue.

    from ivr.intent import Matcher

    match = Matcher(catalogue).match("我想查吓社保", Language.CANTONESE)

Names are imported when asked for: :class:`Matcher` loads pinyin, jyutping and OpenCC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ivr.intent.types import Candidate, Decision, Match

if TYPE_CHECKING:
    from ivr.intent.matcher import Matcher

__all__ = ["Candidate", "Decision", "Match", "Matcher"]


def __getattr__(name: str) -> Any:
    if name == "Matcher":
        from ivr.intent.matcher import Matcher

        return Matcher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
