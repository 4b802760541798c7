"""Inputs made of others by random changes; the same seed gives the same inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

__all__ = ["inputs"]

#: What breaks parsers.
_PIECES: tuple[bytes, ...] = (
    *(b"\0", b"\xff", b"\xff\xfe\xfd", b"\n", b"\r\n", b'"', b"'", b"{", b"}", b"[", b"]", b":"),
    *(b",", b"-", b"&a ", b"*a", b"!!python/object:os.system ", b"<<", b"---\n", b"#", b"\t", b"%"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 30, b"1_000", b"0x1f"),
    *(b"\xef\xbb\xbf", "：".encode(), "木".encode(), b"\xed\xa0\x80", "\u202e\u0000".encode()),
    *(b"[" * 5_000, b'{"a":' * 5_000, b"9" * 5_000),
    *(b"[" * 200, b'{"a":' * 100, b"A" * 300, b"\\u0000", b"\\ud800", b"=", b"?", b"/..", b"%00"),
)
_LONGEST = 65_536


def inputs(seeds: Sequence[bytes], count: int, *, seed: int) -> Iterator[bytes]:
    """``count`` inputs: the seeds themselves, then changes of them."""
    rng = random.Random(seed)
    pool = list(seeds) or [b""]
    yield from pool[:count]
    for _ in range(count - len(pool)):
        data = rng.choice(pool)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            data = rng.choice(_CHANGES)(data, rng, pool)[:_LONGEST]
        yield data
        if rng.random() < 0.01:  # some changes are changed on
            pool[rng.randrange(len(pool)) if len(pool) > 200 else -1 :] = [data]


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((0, 1, 1, 2, 4, 16, 64, 256)))


def _flip(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _truncate(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _double(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 1, 3, 30)) + data[end:]


def _insert(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_PIECES) + data[at:]


def _replace(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + rng.choice(_PIECES) + data[end:]


def _splice(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    other = rng.choice(list(pool))
    start, end = _span(other, rng)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]


def _noise(data: bytes, rng: random.Random, pool: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


_CHANGES: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _flip,
    _cut,
    _truncate,
    _double,
    _insert,
    _replace,
    _splice,
    _noise,
)
