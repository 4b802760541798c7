"""Downloads from a real HTTP server on this machine: resumed, checked, unpacked, refused."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_site import Site, serve, zipped_model

from ivr.asr.download import KnownModel, fetch, find_known, install, known_models, unpack
from ivr.errors import ConfigError, DeviceError, ModelError
from ivr.language import Language


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        yield site


@pytest.fixture(scope="session")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return zipped_model(tmp_path_factory.mktemp("m"))


def known(site: Site, **changes: object) -> KnownModel:
    return KnownModel(
        name="vosk-model-tone", engine="vosk", languages=(Language.MANDARIN,), url=site.url
    ).model_copy(update=changes)


def bring(site: Site, part: Path) -> list[float]:
    steps: list[float] = []
    fetch(site.url, part, advance=steps.append)
    return steps


def test_a_model_is_installed(site: Site, zipped: bytes, tmp_path: Path) -> None:
    site.content = zipped
    model = known(site, sha256=hashlib.sha256(zipped).hexdigest().upper())
    path = install(model, tmp_path / "models")
    assert path == tmp_path / "models" / "vosk-model-tone"
    assert (path / "graph" / "HCLG.fst").exists()
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["vosk-model-tone"]
    with pytest.raises(ModelError, match="is there already; delete it"):
        install(model, tmp_path / "models")


@pytest.mark.parametrize("given", [True, False])
def test_what_is_not_checked_has_its_checksum_told(
    site: Site, zipped: bytes, tmp_path: Path, given: bool
) -> None:
    site.content, told, totals = zipped, [], []
    found = hashlib.sha256(zipped).hexdigest()
    model = known(site, sha256=found if given else None)
    install(model, tmp_path, say_sum=told.append, say_total=totals.append)
    assert told == [found]
    assert totals == [len(zipped)]


def test_a_broken_download_goes_on(site: Site, tmp_path: Path) -> None:
    site.content = bytes(range(256)) * 40
    site.cut_at = 4000
    part = tmp_path / "m.part"
    with pytest.raises(DeviceError, match=r"broke off after 4000.*run the same command again"):
        bring(site, part)
    site.cut_at = None
    assert bring(site, part)[0] == 4000
    assert part.read_bytes() == site.content
    assert site.asked == [None, "bytes=4000-"]


def test_a_whole_file_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    site.content = b"x" * 1000
    part = tmp_path / "m.part"
    bring(site, part)
    assert bring(site, part) == []
    assert part.read_bytes() == site.content


@pytest.mark.parametrize("ranges", [True, False])
def test_another_version_begins_anew(site: Site, tmp_path: Path, ranges: bool) -> None:
    site.content, site.cut_at = b"a" * 3000, 1000
    part = tmp_path / "m.part"
    with pytest.raises(DeviceError):
        bring(site, part)
    site.content, site.cut_at, site.tag, site.ranges = b"b" * 2000, None, '"two"', ranges
    bring(site, part)
    assert part.read_bytes() == b"b" * 2000


def test_longer_than_what_the_server_has(site: Site, tmp_path: Path) -> None:
    site.content = b"b" * 10
    part = tmp_path / "m.part"
    part.write_bytes(b"a" * 50)
    bring(site, part)
    assert part.read_bytes() == site.content


def test_a_wrong_checksum(site: Site, zipped: bytes, tmp_path: Path) -> None:
    site.content = zipped
    with pytest.raises(ModelError, match=r"checksum is .* where 00+ is due"):
        install(known(site), tmp_path, sha256="0" * 64)
    assert not list(tmp_path.glob("*.part"))


def test_no_such_file(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="answers 404"):
        fetch(site.url + "s", tmp_path / "m.part", advance=lambda _: None)


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/model"
        with pytest.raises(DeviceError, match="cannot be reached"):
            fetch(url, tmp_path / "m.part", advance=lambda _: None)


def test_a_full_disk(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.content = b"x" * 1000
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DeviceError, match="make room"):
        bring(site, tmp_path / "m.part")


def test_an_archive_that_is_cut_off(site: Site, zipped: bytes, tmp_path: Path) -> None:
    site.content = zipped[: len(zipped) // 2]
    with pytest.raises(ModelError, match="cannot be unpacked"):
        install(known(site), tmp_path)
    assert not (tmp_path / "vosk-model-tone").exists()


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (4, b"\xf5\x00"),  # the version that is needed to read it
        (6, b"\x01\x00"),  # encrypted
        (8, b"\x63\x00"),  # an unknown compression
    ],
)
def test_an_archive_that_is_damaged(zipped: bytes, tmp_path: Path, at: int, value: bytes) -> None:
    damaged = bytearray(zipped)
    for header, first in ((b"PK\x03\x04", at), (b"PK\x01\x02", at + 2)):
        for found in re.finditer(re.escape(header), zipped):
            damaged[found.start() + first : found.start() + first + 2] = value
    archive = tmp_path / "m.zip"
    archive.write_bytes(damaged)
    with pytest.raises(ModelError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "folder")


def test_an_archive_with_a_nameless_entry(tmp_path: Path) -> None:
    archive = tmp_path / "m.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("x", "content")
    # Lengths of the name, 1, become 0; the name becomes the first byte of what follows.
    raw = archive.read_bytes()
    local, listed = raw.index(b"PK\x03\x04"), raw.index(b"PK\x01\x02")
    damaged = bytearray(raw)
    damaged[local + 26] = damaged[listed + 28] = 0
    damaged[listed + 30] = 1  # and the extra field's length makes up for it
    archive.write_bytes(damaged)
    with pytest.raises(ModelError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "folder")


def test_an_archive_without_a_model(site: Site, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("vosk-model-tone/readme.txt", "nothing else")
    site.content = out.getvalue()
    with pytest.raises(ModelError, match="missing"):
        install(known(site), tmp_path)
    assert not (tmp_path / "vosk-model-tone").exists()


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../outside.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_is_written_outside(tmp_path: Path, name: str, kind: str) -> None:
    archive = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr(name, "bad")
    else:
        with tarfile.open(archive, "w:bz2") as tar:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"bad"))
    folder = tmp_path / "deep" / "folder"
    if kind == "tar" and name.startswith("/"):  # tar's own rule: the slash is taken off
        assert (unpack(archive, folder) / "outside.txt").is_relative_to(folder)
    else:
        with pytest.raises(ModelError, match="cannot be unpacked"):
            unpack(archive, folder)
    assert [p for p in tmp_path.rglob("outside.txt") if not p.is_relative_to(folder)] == []


def test_the_catalogue() -> None:
    models = known_models()
    assert {Language.MANDARIN, Language.CANTONESE} == {k for m in models for k in m.languages}
    assert all(m.url.startswith("https://") for m in models)
    assert all(m.sha256 is None or len(m.sha256) == 64 for m in models)
    with pytest.raises(ConfigError, match=r"vosk-model-small-cn-0\.22"):
        find_known("vosk-model-small-cn-0.2")
