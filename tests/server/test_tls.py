"""TLS with real certificates, which trustme makes, over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from ivr.errors import ConfigError
from ivr.server.tls import Tls
from ivr.settings import TlsSettings


def write(folder: Path, authority: trustme.CA, *names: str) -> TlsSettings:
    issued = authority.issue_cert(*names)
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return TlsSettings(certificate=certificate, key=key)


async def serial(server: Tls, authority: trustme.CA, **client: str) -> int:
    """The serial number of the certificate that a client is shown."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await writer.drain()
        writer.close()

    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client:
        context.load_cert_chain(**client)  # type: ignore[arg-type]
    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server.context) as listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert await reader.readline() == b"hello\n"
        shown = writer.get_extra_info("ssl_object").getpeercert()
        writer.close()
    return int(shown["serialNumber"], 16)


async def test_a_renewed_certificate_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = Tls(write(tmp_path, authority, "127.0.0.1"))
    first = await serial(server, authority)
    assert server.refresh() is False
    write(tmp_path, authority, "127.0.0.1")
    assert server.refresh() is True
    assert await serial(server, authority) != first


async def test_half_a_renewal_leaves_the_old_one(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = Tls(write(tmp_path, authority, "127.0.0.1"))
    first = await serial(server, authority)
    (tmp_path / "server.key").write_text("half writ")
    assert server.refresh() is False
    assert await serial(server, authority) == first


async def test_clients_must_show_a_certificate_where_asked(tmp_path: Path) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    settings = write(tmp_path, authority, "127.0.0.1").model_copy(
        update={"client_authorities": tmp_path / "clients.pem"}
    )
    server = Tls(settings)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        await serial(server, authority)
    own = clients.issue_cert("pbx-1")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pbx.pem")
    assert await serial(server, authority, certfile=str(tmp_path / "pbx.pem"))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        ("missing", "there is no such file; server.tls needs"),
        ("other key", "not a certificate and its key"),
        ("encrypted", "write it without a password"),
    ],
)
def test_a_pair_that_cannot_serve_is_one_clear_error(tmp_path: Path, spoil: str, what: str) -> None:
    settings = write(tmp_path, trustme.CA(), "127.0.0.1")
    key = tmp_path / "server.key"
    if spoil == "missing":
        key.unlink()
    elif spoil == "other key":
        key.write_bytes(trustme.CA().issue_cert("x.example").private_key_pem.bytes())
    else:
        key.write_bytes(_encrypted(key.read_bytes()))
    with pytest.raises(ConfigError, match=what):
        Tls(settings)


def _encrypted(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(pem, password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
