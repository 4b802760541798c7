"""Kapok: a voice IVR and bilingual (Mandarin and Cantonese) speech navigation server."""

from __future__ import annotations

import os

# Before ONNX Runtime is loaded: it would tell its makers how it is used.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["__version__"]

__version__ = "0.1.0"
