"""What Kapok does only with packages that are not among its own: the extras of ``pyproject.toml``.

    raise ConfigError(f"store.url names Redis, and redis is not installed; {install('redis')}")

Kapok is in no package index: extras are installed from the checkout that it runs from.
"""

from __future__ import annotations

__all__ = ["install"]


def install(extra: str) -> str:
    """How to mend that the packages of ``extra`` are missing, as the end of a message."""
    return f"install it in Kapok's folder: pip install -e '.[{extra}]'"
