"""Kapok: a voice IVR and bilingual (Mandarin and Cantonese) speech navigation server."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
