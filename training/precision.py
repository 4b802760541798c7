"""Which numbers a device multiplies fast."""

from __future__ import annotations

import functools

import torch

__all__ = ["fast_bfloat16"]


@functools.cache
def fast_bfloat16(kind: str) -> bool:
    """Whether bfloat16 is faster than float32 there, by about two; a processor without instructions
    for it takes a hundred times as long.

    Args:
        kind: of device, ``cpu`` or ``cuda``.
    """
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
