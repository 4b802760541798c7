"""TLS for both ports, by the settings' certificate and key.

A renewed certificate is taken up by :meth:`Tls.refresh` without a restart: connections made after
that get the new one, those under way keep theirs.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from ivr.errors import ConfigError
from ivr.settings import TlsSettings

__all__ = ["Tls"]

_log = logging.getLogger(__name__)


class Tls:
    """A server's certificate.

    Raises:
        ConfigError: certificate or key are missing, wrong, or do not belong together.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        #: for ``ssl=`` of a server; TLS 1.2 and later, with Python's own choice of ciphers
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        if settings.client_authorities is not None:
            self._ask_clients(settings.client_authorities)
        self._seen = self._look()
        self._load(self.context)

    def refresh(self) -> bool:
        """Take up certificate and key where the files have changed; True where it did.

        A pair that cannot be used is logged and left, and the old one serves.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # half a pair spoils a context
            self._load(self.context)
        except ConfigError as error:
            _log.error("the new certificate is refused, the old one serves: %s", error)
            return False
        _log.info("new connections get the new certificate")
        return True

    def _ask_clients(self, authorities: Path) -> None:
        self.context.verify_mode = ssl.CERT_REQUIRED
        try:
            self.context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{authorities}: no certificates can be read ({error}); "
                "name a PEM file under server.tls.client_authorities"
            ) from error

    def _load(self, context: ssl.SSLContext) -> None:
        certificate, key = self._settings.certificate, self._settings.key
        for path in (certificate, key):
            if not path.is_file():
                raise ConfigError(
                    f"{path}: there is no such file; server.tls needs a certificate and its key"
                )
        try:
            # Without a password: nobody is there to type one.
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{certificate} and {key}: not a certificate and its key ({error}); "
                "name a PEM file with the certificate and its chain, and one with its key"
            ) from error

    def _look(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._settings.certificate, self._settings.key))


def _no_password() -> str:
    raise ValueError("the key is encrypted; write it without a password, mode 600")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
