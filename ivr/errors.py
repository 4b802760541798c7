"""The exception tree of the package: one root, raised at the boundary, with its cause.

``IvrError``
    ``AudioError``          an audio file or stream that cannot be decoded
    ``ModelError``          a speech model that is missing, incomplete or unreadable
    ``ConfigError``         ``queues.yaml`` or ``kapok.yaml`` is not valid
    ``ProtocolError``       a gateway sent what its protocol does not allow
    ``DeviceError``         no microphone, no PortAudio, no network
    ``ReplayError``         the log of a call is damaged, or of another version
    ``ServerError``         the server cannot be reached, or answered with an error
    ``AccessError``         someone without a token, or without the role, for what they ask
    ``SimulationError``     a call centre that cannot be simulated, a formula outside its range

Every message says what is wrong, where, and how to mend it. The command line prints the
message alone (exit status 2); the server answers it to the gateway and keeps serving.
"""

from __future__ import annotations

__all__ = [
    "AccessError",
    "AudioError",
    "ConfigError",
    "DeviceError",
    "IvrError",
    "ModelError",
    "ProtocolError",
    "ReplayError",
    "ServerError",
    "SimulationError",
]


class IvrError(Exception):
    """Root of every error that Kapok raises on purpose."""


class AudioError(IvrError):
    """An audio file or stream that cannot be decoded."""


class ModelError(IvrError):
    """A speech model directory that is missing, incomplete or unreadable."""


class ConfigError(IvrError):
    """A configuration file that is not valid; the message has file, line, column and mend."""


class ProtocolError(IvrError):
    """A message that the gateway's protocol does not allow at this point."""


class DeviceError(IvrError):
    """Something of this machine is missing: a microphone, PortAudio, a network."""


class ReplayError(IvrError):
    """The log of a call cannot be run again: it is damaged, or of another version."""


class ServerError(IvrError):
    """The server cannot be reached, or answered with an error."""


class SimulationError(IvrError):
    """A call centre that cannot be simulated, or a queueing formula asked outside its range."""


class AccessError(IvrError):
    """Someone is turned away.

    Attributes:
        status: the HTTP status to answer: 401, 403 or 429.
        reason: one word for the metrics: ``token``, ``role``, ``origin`` or ``rate``.
        retry_after_s: when it is worth trying again, seconds; None where it is not.
    """

    def __init__(
        self, status: int, reason: str, message: str, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s
