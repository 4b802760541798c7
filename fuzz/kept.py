"""More files: prompts, cases, models from elsewhere, and what Kapok writes itself and reads again.

And what a server answers to our own tools.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any, Final
from zoneinfo import ZoneInfo

from fuzz.target import BREAK, NOON, Target, answers, catalogue, file, files, folder, text
from ivr.asr import download, models, sherpa_models
from ivr.asr.graph import Graph
from ivr.asr.language_decision import LanguageDecider
from ivr.call.event_log import EventLog, as_line
from ivr.call.events import (
    CallStarted,
    DigitPressed,
    HungUp,
    PromptPlayed,
    SpeechStarted,
    Tick,
    UtteranceMatched,
)
from ivr.call.prompt_audio import PromptAudio
from ivr.call.prompts import Piece, PromptTexts, parse_prompts
from ivr.call.session import Limits
from ivr.cli import status
from ivr.errors import IvrError
from ivr.intent import hearing
from ivr.intent.calibration import Calibration, read_calibration
from ivr.intent.cases import read_cases
from ivr.intent.types import Decision, Match
from ivr.language import Language
from ivr.queues.lint import read_vocabulary
from ivr.replay import client as replay_client
from ivr.replay.clips import read_clip
from ivr.replay.log import read_log, replay_log
from ivr.replay.log_cases import is_log, logged_cases
from ivr.server import config_audit
from ivr.server.audit import AuditLog

__all__ = ["KEPT"]


# --- prompts, cases -------------------------------------------------------------------------


def _prompt_sound(data: bytes) -> None:
    path = file("prompts/cmn/greeting.wav", data)
    piece = Piece("greeting", "您好")
    for fault in PromptAudio(path.parents[1]).faults(Language.MANDARIN, [piece]):
        assert str(fault)


_ENDINGS: Final = (".csv", ".tsv", ".jsonl", ".txt")


def _cases(data: bytes) -> None:
    """The first byte says which kind of file it is."""
    ending = _ENDINGS[data[0] % len(_ENDINGS)] if data else ".csv"
    for case in read_cases(file("cases" + ending, data[1:]), catalogue(), language=None):
        assert case.language in list(Language)


# --- what Kapok writes itself ---------------------------------------------------------------


def _audited(data: bytes) -> None:
    log = AuditLog(file("audit.jsonl", data), now=lambda: NOON)
    assert len(log.last(100)) <= 100
    broken = log.verify()
    # What is written next follows, whatever was there.
    log.record(who="x", action="edit", target="queues.yaml", outcome="taken")
    assert len(log.verify()) <= len(broken) + 1
    assert log.last(1)


def _seen(data: bytes) -> None:
    audit = AuditLog(folder() / "no-audit.jsonl", now=lambda: NOON)
    path = file("no-audit.jsonl.seen", data)
    config_audit.ConfigAudit(audit, list, home=path.parent)
    shown = config_audit.without_secrets(text(data))
    assert shown.count("\n") == text(data).count("\n")


def _replayed(data: bytes) -> None:
    path = file("call.jsonl", data)
    assert is_log(path) in (True, False)
    try:
        for case in logged_cases(path, queues=catalogue().queue_ids):
            assert case.where
    except IvrError as error:
        assert str(error)
    replay_log(read_log(path), catalogue=catalogue(), texts=PromptTexts(), version="v")


class _Routes:
    """A matcher that sends everyone to one queue."""

    def match(self, said: str, language: Language, /) -> Match:
        return Match(said, said, Decision.CONFIRM, catalogue().queue_ids[0], 0.6, ())


@cache
def _call() -> bytes:
    """The log of a call."""
    records: list[dict[str, Any]] = []
    began = NOON.astimezone(ZoneInfo("Asia/Shanghai"))
    log = EventLog(records.append, call_id="c", began=began, version="v")
    log.session(matcher=_Routes(), catalogue=catalogue(), texts=PromptTexts(), limits=Limits())
    request = _Routes().match("我要查社保", Language.MANDARIN)
    yes = Match("是", "是", Decision.ASK_AGAIN, None, 0.0, ())
    for given in (
        CallStarted(0.0, began),
        PromptPlayed(5.0),
        Tick(12.0),
        SpeechStarted(13.0),
        UtteranceMatched(14.0, request, Language.MANDARIN, ("我要查社保",)),
        PromptPlayed(17.0),
        UtteranceMatched(18.0, yes, Language.MANDARIN),
        DigitPressed(19.0, "0"),
        HungUp(20.0),
    ):
        log.receive(given)
    return b"".join(as_line(record).encode() + b"\n" for record in records)


def _heard(data: bytes) -> None:
    """Compressed here: changes of what is compressed already come no farther than gzip."""
    raw = data[1:] if data[:1] == b"\x00" else gzip.compress(data, 1)
    hearing.read(file("heard.jsonl.gz", raw))


# --- models ---------------------------------------------------------------------------------


def _vosk_directory(data: bytes) -> None:
    """A whole directory; the input's parts are its files."""
    parts = [*data.split(BREAK), b"", b"", b""]
    root = folder() / "vosk"
    for name, content in zip(_VOSK_FILES, parts, strict=False):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    models.check_vosk_directory(root)


_VOSK_FILES: Final = ("conf/mfcc.conf", "conf/model.conf", "graph/HCLG.fst", "graph/words.txt")


def _model_card(data: bytes) -> None:
    path = file("card/model.json", data)
    models.read_card(path.parent)
    models.model_id(path.parent)


def _sherpa_directory(data: bytes) -> None:
    settings, _, tokens = data.partition(BREAK)
    for name, content in (
        ("sherpa.json", settings),
        ("tokens.txt", tokens),
        ("words.txt", tokens),
        ("model.onnx", b"x"),
        ("HLG.fst", b"x"),
    ):
        path = file(f"sherpa/{name}", content)
    sherpa_models.check_sherpa_directory(path.parent)


_numbers: Final = count()


def _unpacked(data: bytes) -> None:
    """Nothing comes to lie outside the folder."""
    number = next(_numbers)
    archive, into = file("model.archive", data), folder() / f"unpacked-{number}"
    beside = set(folder().iterdir())
    try:
        download.unpack(archive, into)
    finally:
        assert set(folder().iterdir()) - beside <= {into}
        shutil.rmtree(into, ignore_errors=True)


def _archives() -> list[bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("m/am/final.mdl", "x" * 40)
    with tarfile.open(fileobj=tarred, mode="w:gz") as tar:
        entry = tarfile.TarInfo("m/am/final.mdl")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"xxxx"))
        link = tarfile.TarInfo("m/link")
        link.type, link.linkname = tarfile.SYMTYPE, "am/final.mdl"
        tar.addfile(link)
    return [zipped.getvalue(), tarred.getvalue(), gzip.decompress(tarred.getvalue())]


def _graph() -> bytes:
    """A static graph of one state and one arc."""
    import numpy as np

    from ivr.asr.graph import _ARC, _STATE

    path = folder() / "seed.fst"
    Graph(np.zeros(1, _STATE), np.zeros(1, _ARC), 0).write(path)
    return path.read_bytes()


# --- answers to our own tools ----------------------------------------------------------------


def _json_of(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(text(data))


KEPT: Final = (
    Target(
        "prompts",
        answers(lambda data: parse_prompts(text(data))),
        files("config/prompts/prompts.yaml", most=4_000),
        share=0.4,
    ),
    Target(
        "prompt-sound",
        answers(_prompt_sound),
        files("config/prompts/cmn/*.wav", most=2_000),
        share=0.2,
    ),
    Target(
        "cases",
        answers(_cases),
        lambda: [
            b"\x00text,language,expected\n\xe6\x9f\xa5,cmn,person\n",
            b"\x01text\tlanguage\tqueue\n\xe6\x9f\xa5\tyue\toff_topic\n",
            b'\x02{"text": "x", "language": "cmn", "expected": "emergency:119"}\n',
            b"\x03# comment\n\xe6\x9f\xa5\n",
        ],
        share=0.6,
    ),
    Target(
        "calibration",
        answers(lambda data: read_calibration(file("calibration.json", data))),
        lambda: [Calibration().model_dump_json().encode()],
        share=0.5,
    ),
    Target(
        "clip",
        answers(lambda data: read_clip(file("clip.wav", data))),
        lambda: [
            b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x07\x00\x01\x00@\x1f\x00\x00"
            b"@\x1f\x00\x00\x01\x00\x08\x00data\x04\x00\x00\x00\x7f\x7f\x7f\x7f",
            *files("audio_fixtures/*_001.wav", most=2_000)(),
        ],
        share=0.3,
    ),
    Target(
        "audit",
        answers(_audited),
        lambda: [b'{"v": 1, "at": "x", "who": "y", "previous": "' + b"0" * 64 + b'"}\n'],
        share=0.1,  # each entry is on the disk before the next
    ),
    Target(
        "audit-seen",
        answers(_seen),
        lambda: [
            b'{"config/queues.yaml": "default_queue: general\\n"}',
            b"webhook: {secret: x}\nstore:\n  url: redis://kapok:s3cret@127.0.0.1/0\n",
            b"gateways:\n  genesys:\n    keys:\n      a: b\n",
        ],
        share=0.5,
    ),
    Target("replay", answers(_replayed), lambda: [_call()], share=0.2),
    Target(
        "heard",
        answers(_heard),
        lambda: [b"".join(gzip.decompress(hearing.HEARD.read_bytes()).splitlines(True)[:3])],
        share=0.5,
    ),
    Target(
        "language-weights",
        answers(lambda data: LanguageDecider.load(file("language.json", data))),
        files("models/language.json"),
        share=0.4,
    ),
    Target("model-card", answers(_model_card), files("models/*/model.json"), share=0.4),
    Target(
        "vosk-directory",
        answers(_vosk_directory),
        lambda: [
            BREAK.join(
                (
                    b"--sample-frequency=8000\n--num-mel-bins=40\n",
                    b"--endpoint.silence-phones=1\n",
                    _graph()[:64],
                    "<eps> 0\n社保 1\n".encode(),
                )
            )
        ],
        share=0.3,
    ),
    Target(
        "sherpa-directory",
        answers(_sherpa_directory),
        lambda: [
            b'{"kind": "zipformer2_ctc", "graph": "HLG.fst"}'
            + BREAK
            + "<blk> 0\n社 1\n保 2\n".encode()
        ],
        share=0.3,
    ),
    Target(
        "hot-words-graph",
        answers(lambda data: Graph.read(file("HCLG.fst", data))),
        lambda: [_graph()],
        share=0.5,
    ),
    Target(
        "vocabulary",
        answers(lambda data: read_vocabulary(file("words.txt", data))),
        lambda: ["<eps> 0\n社保 1\n".encode()],
        share=0.3,
    ),
    Target("archive", answers(_unpacked), _archives, share=0.2),
    Target(
        "replay-answer",
        answers(_json_of(replay_client._message)),
        lambda: [b'{"text": "x", "queue": "general", "confidence": 0.9}'],
        share=0.4,
    ),
    Target(
        "status-answer",
        answers(lambda data: status._object(data, "http://x")),
        lambda: [b'{"ready": true, "reasons": {}}'],
        share=0.4,
    ),
)
