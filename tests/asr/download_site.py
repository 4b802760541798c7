"""A web server on this machine that holds one file, with the faults that downloads meet."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tone_model import MANDARIN_WORDS, write_tone_model

__all__ = ["Site", "serve", "zipped_model"]


@dataclass
class Site:
    """What the server holds and how it behaves."""

    content: bytes = b""
    tag: str | None = '"one"'
    ranges: bool = True
    tells_length: bool = True
    cut_at: int | None = None  # bytes of a response after which the connection ends
    asked: list[str | None] = field(default_factory=list)  # Range headers
    url: str = ""


@contextmanager
def serve() -> Iterator[Site]:
    """The server; its file is at ``/model``."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/model":
                self.send_error(404)
                return
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            same = self.headers.get("If-Range") in (None, site.tag)
            start = int(wanted[6:-1]) if wanted and site.ranges and same else 0
            if start and start >= len(site.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = site.content[start:]
            self.send_response(206 if start else 200)
            if site.tells_length:
                self.send_header("Content-Length", str(len(body)))
            if site.tag:
                self.send_header("ETag", site.tag)
            self.end_headers()
            self.wfile.write(body[: site.cut_at])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}/model"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def zipped_model(folder: Path) -> bytes:
    """A model of the tests as a publisher packs one."""
    model = write_tone_model(folder / "vosk-model-tone", MANDARIN_WORDS)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(model.rglob("*")):
            archive.write(path, path.relative_to(model.parent))
    return out.getvalue()
