"""Telephone codecs to PCM and back, over frames of any size.

Gateways send mu-law (G.711, North America and most SIP trunks in the cloud), A-law (G.711, China's
own trunks) or linear PCM. A network frame may end in the middle of a 16-bit sample; the decoder
carries the odd byte over to the next frame, so that one short frame does not turn the rest of
a call into noise.

PCM here is signed 16-bit little-endian, one channel.
"""

from __future__ import annotations

import audioop
from enum import StrEnum

from ivr.errors import AudioError

__all__ = ["Decoder", "Encoding", "encode"]


class Encoding(StrEnum):
    """How samples are written on the wire."""

    S16LE = "s16le"
    MULAW = "mulaw"
    ALAW = "alaw"

    @classmethod
    def parse(cls, name: str) -> Encoding:
        """The encoding of a name as gateways write it: ``PCMU``, ``audio/x-mulaw``, ``L16``…

        Parameters after a semicolon (``audio/l16;rate=16000``) are not looked at.

        Raises:
            AudioError: the name is none of those known.
        """
        plain = name.split(";")[0].strip().lower().removeprefix("audio/").removeprefix("x-")
        found = _ALIASES.get(plain)
        if found is None:
            known = ", ".join(sorted(_ALIASES))
            raise AudioError(f"unknown audio encoding {name!r}: use one of {known}")
        return found

    @property
    def bytes_per_sample(self) -> int:
        """Bytes that one sample takes on the wire."""
        return 2 if self is Encoding.S16LE else 1


_ALIASES = {
    **dict.fromkeys(("s16le", "l16", "slin", "linear16", "pcm", "pcm_s16le"), Encoding.S16LE),
    **dict.fromkeys(("mulaw", "mu-law", "ulaw", "pcmu", "basic", "g711u"), Encoding.MULAW),
    **dict.fromkeys(("alaw", "a-law", "pcma", "g711a"), Encoding.ALAW),
}


class Decoder:
    """A stream of encoded bytes to PCM, s16le."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._carry = b""

    @property
    def pending(self) -> int:
        """Bytes of an unfinished sample held back: 0 or 1."""
        return len(self._carry)

    def decode(self, data: bytes) -> bytes:
        """PCM of the samples that ``data`` completes; an odd byte waits for the next call."""
        match self.encoding:
            case Encoding.MULAW:
                return audioop.ulaw2lin(data, 2)
            case Encoding.ALAW:
                return audioop.alaw2lin(data, 2)
            case Encoding.S16LE:
                return self._whole_samples(data)

    def _whole_samples(self, data: bytes) -> bytes:
        data = self._carry + data
        whole = len(data) - len(data) % 2
        self._carry = data[whole:]
        return data[:whole]

    def reset(self) -> None:
        """Forget the unfinished sample: the stream starts anew."""
        self._carry = b""


def encode(pcm: bytes, encoding: Encoding) -> bytes:
    """PCM, s16le, to an encoding.

    Raises:
        AudioError: ``pcm`` is not a whole number of samples.
    """
    if len(pcm) % 2:
        raise AudioError(
            f"{len(pcm)} bytes are no whole number of 16-bit samples: send an even number"
        )
    match encoding:
        case Encoding.MULAW:
            return audioop.lin2ulaw(pcm, 2)
        case Encoding.ALAW:
            return audioop.lin2alaw(pcm, 2)
        case Encoding.S16LE:
            return pcm
