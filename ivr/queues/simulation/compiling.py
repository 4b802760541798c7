"""How the kernel is compiled by numba.

The kernel allocates nothing, so numba's reference counts are left out (``_nrt``): they cost three
quarters of the speed where many arrays are passed on. Functions that only compiled code calls get
no wrapper for Python, which halves the time to compile.

The compiled kernel is kept on disk (beside the sources, or where ``NUMBA_CACHE_DIR`` says), so that
a machine compiles it once, in 10 to 30 s; where nothing can be written, each process does. It is
compiled anew where ``kernel.py`` or the layout of a table has changed; after a change of
``streams.py`` alone, touch ``kernel.py``.
"""

from __future__ import annotations

from typing import Any

import numba

from ivr.compiled import kept

__all__ = ["compiled", "entry"]

_njit: Any = numba.njit  # not every version of numba types its options
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}


def compiled(function: Any) -> Any:
    """For functions that are called by compiled functions alone."""
    return _njit(no_cpython_wrapper=True, **_OPTIONS)(function)


def entry(function: Any) -> Any:
    """For functions that Python calls."""
    return kept(function, **_OPTIONS)
