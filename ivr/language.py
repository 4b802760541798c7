"""The two languages of a call, by their ISO 639-3 codes."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Language"]


class Language(StrEnum):
    """A spoken language; the value is its ISO 639-3 code, as in ``models/cmn``."""

    MANDARIN = "cmn"
    CANTONESE = "yue"

    @property
    def other(self) -> Language:
        """The other language of the pair."""
        return Language.CANTONESE if self is Language.MANDARIN else Language.MANDARIN
