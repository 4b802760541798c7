"""Larger models: which there are, and how one of them gets into ``models/``.

A download goes to ``models/NAME.part`` and is resumed where it broke off (RFC 9110, range
requests; ``If-Range`` with the entity tag, so that two versions are never mixed). It is checked,
unpacked beside its place, looked into, and moved there in one step.
"""

from __future__ import annotations

import hashlib
import http.client
import lzma
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic
import yaml

from ivr.asr.models import check_vosk_directory
from ivr.asr.sherpa_models import check_sense_voice, check_sherpa_directory
from ivr.errors import ConfigError, DeviceError, ModelError
from ivr.language import Language
from ivr.yamlsource import did_you_mean

__all__ = ["KnownModel", "fetch", "find_known", "install", "known_models", "unpack"]

CHUNK = 1 << 18
TIMEOUT_S = 30.0
#: Archive and contents lie side by side for a moment.
ROOM_NEEDED = 2.5

Advance = Callable[[float], None]


class KnownModel(pydantic.BaseModel):
    """One entry of ``catalogue.yaml``."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: str
    engine: Literal["vosk", "sherpa"]
    use: Literal["model", "second_pass"] = "model"  # the key of config/kapok.yaml that names it
    languages: tuple[Language, ...]
    url: str
    # None: not published
    bytes: int | None = None  # of the archive
    sha256: str | None = None  # of the archive
    licence: str | None = None
    error: str | None = None  # as published, with the test set


def known_models() -> tuple[KnownModel, ...]:
    """The catalogue that comes with Kapok."""
    text = Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8")
    return tuple(KnownModel(**entry) for entry in yaml.safe_load(text))


def find_known(name: str) -> KnownModel:
    """The entry of that name.

    Raises:
        ConfigError: there is none.
    """
    known = {model.name: model for model in known_models()}
    if name not in known:
        mend = did_you_mean(name, list(known), kind="models that Kapok knows")
        raise ConfigError(f"there is no model {name!r} in the catalogue; {mend}")
    return known[name]


# --- fetching ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    response: http.client.HTTPResponse
    start: int  # bytes that are here already
    total: int | None
    tag: str | None


def fetch(url: str, part: Path, *, advance: Advance, say_total: Advance = lambda _: None) -> None:
    """Bring what lies at ``url`` to the file ``part``, going on where it ends.

    Args:
        url: http or https.
        part: the file; its entity tag stands beside it.
        advance: told the bytes that have come, those already here first.
        say_total: told the bytes there are in all, where the server says.

    Raises:
        DeviceError: no network, an answer that is an error, a connection that broke off, a full
            disk. What has come is kept.
    """
    tag_file = part.with_suffix(part.suffix + ".etag")
    try:
        answer = _ask(url, part, tag_file)
        if answer is None:  # it is all here
            return
        with answer.response:
            if answer.tag:
                tag_file.write_text(answer.tag, encoding="utf-8")
            elif tag_file.exists():
                tag_file.unlink()
            if answer.total is not None:
                say_total(answer.total)
                _check_room(part.parent, answer.total, answer.total - answer.start)
            advance(answer.start)
            got = answer.start
            with open(part, "ab" if answer.start else "wb") as file:
                while chunk := answer.response.read(CHUNK):
                    file.write(chunk)
                    got += len(chunk)
                    advance(len(chunk))
    except urllib.error.HTTPError as error:
        raise DeviceError(
            f"{url}: the server answers {error.code} {error.reason}; try again later, or name "
            "another address with --from"
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DeviceError(
            f"{url}: cannot be reached ({reason}); look at the network, or fetch the file "
            f"elsewhere, put it there as {part}, and run the same command again"
        ) from error
    except http.client.HTTPException as error:
        raise _broke_off(url, part, None) from error
    except OSError as error:
        raise DeviceError(
            f"{part}: cannot be written ({error.strerror}); make room and run the same "
            "command again"
        ) from error
    if answer.total is not None and got < answer.total:
        raise _broke_off(url, part, answer.total)


def _broke_off(url: str, part: Path, total: int | None) -> DeviceError:
    here = part.stat().st_size if part.exists() else 0
    of = f" of {total}" if total else ""
    return DeviceError(
        f"{url}: the connection broke off after {here}{of} bytes; run the same command again and "
        "it goes on from there"
    )


def _ask(url: str, part: Path, tag_file: Path) -> _Answer | None:
    here = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "kapok-ivr", "Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
        if tag_file.exists():
            headers["If-Range"] = tag_file.read_text(encoding="utf-8")
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not here:
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{here}"):
            return None
        part.unlink()  # longer than what the server has: begin again
        return _ask(url, part, tag_file)
    length = response.headers.get("Content-Length")
    start = here if response.status == 206 else 0
    total = None if length is None else start + int(length)
    return _Answer(response, start, total, response.headers.get("ETag"))


def _check_room(folder: Path, total: int, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    needed = missing + int((ROOM_NEEDED - 1) * total)
    if free < needed:
        raise DeviceError(
            f"{folder}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free; "
            "make room and run the same command again"
        )


def _sum(path: Path, sha256: str | None) -> str:
    """The checksum of a file, which is ``sha256`` where that is given."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is not None and found != sha256.lower():
        path.unlink()
        raise ModelError(
            f"{path.name}: the checksum is {found} where {sha256.lower()} is due: the download was "
            "damaged or is another file, and is deleted; run the same command again"
        )
    return found


# --- unpacking --------------------------------------------------------------------------------


#: What zipfile, tarfile and the decompressors beneath them raise for a damaged archive.
_UNPACKING = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # NotImplementedError is one
    LookupError,  # a name of no characters
)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip or tar archive into ``folder`` and tell the one directory that was in it.

    Raises:
        ModelError: it is no such archive, is cut off, or holds what would lie outside ``folder``.
    """
    folder.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder, list(_safe(packed)))
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
    except _UNPACKING as error:
        raise ModelError(
            f"{archive.name}: cannot be unpacked ({error}); delete {archive} and run the same "
            "command again"
        ) from error
    entries = [path for path in folder.iterdir() if not path.name.startswith((".", "__"))]
    if len(entries) == 1 and entries[0].is_dir():
        return entries[0]
    return folder


def _safe(packed: zipfile.ZipFile) -> Iterator[str]:
    for entry in packed.infolist():
        path = Path(entry.filename)
        link = stat.S_ISLNK(entry.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or link:
            raise ValueError(f"it holds {entry.filename!r}, which would lie elsewhere")
        yield entry.filename


_CHECKS: dict[tuple[str, str], Callable[[Path], object]] = {
    ("vosk", "model"): check_vosk_directory,
    ("sherpa", "model"): check_sherpa_directory,
    ("sherpa", "second_pass"): check_sense_voice,
}


def install(
    model: KnownModel,
    models: Path,
    *,
    url: str | None = None,
    sha256: str | None = None,
    advance: Advance = lambda _: None,
    say_total: Advance = lambda _: None,
    say_sum: Callable[[str], None] = lambda _: None,
) -> Path:
    """Fetch, check, unpack and put in its place; the directory of the model.

    Args:
        model: from :func:`known_models`.
        models: the folder of all models.
        url: instead of that of the catalogue.
        sha256: instead of that of the catalogue.
        advance, say_total: see :func:`fetch`.
        say_sum: told the SHA-256 of what came, once it is known to be the one that is due; where
            none is due nothing was checked.

    Raises:
        ModelError: it is there already, damaged, or no model.
        DeviceError: see :func:`fetch`.
    """
    target = models / model.name
    if target.exists():
        raise ModelError(f"{target} is there already; delete it to fetch it anew")
    models.mkdir(parents=True, exist_ok=True)
    part = models / f"{model.name}.part"
    fetch(url or model.url, part, advance=advance, say_total=say_total)
    say_sum(_sum(part, sha256 or model.sha256))
    beside = models / f".{model.name}.unpacked"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        found = unpack(part, beside)
        _CHECKS[model.engine, model.use](found)
        found.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    part.unlink()
    part.with_suffix(".part.etag").unlink(missing_ok=True)
    return target
