"""Functions compiled by numba, and kept on disk, so that a machine compiles them once.

They are kept beside the sources, or where ``NUMBA_CACHE_DIR`` says; where nothing can be written,
each process compiles them.
"""

from __future__ import annotations

from typing import Any

import numba

__all__ = ["kept"]

_njit: Any = numba.njit  # not every version of numba types its options


def kept(function: Any, **options: Any) -> Any:
    """The function compiled, with numba's ``options``; other threads run meanwhile."""
    options = {"nogil": True, "error_model": "numpy", **options}
    try:
        return _njit(cache=True, **options)(function)
    except RuntimeError:  # no directory that numba would keep it in can be written
        return _njit(**options)(function)
