"""A whole installation in a folder: settings, queues, and two tiny models that real Vosk loads.

"Speech" is tones (``tests/asr/tone_model.py``), so that a test knows what is heard, in
milliseconds; everything else, from the socket to the call, is the real thing.
"""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path

from ivr.language import Language
from ivr.server.conversation import Services
from ivr.settings import Settings, load_settings
from tests.asr.tone_model import BINS, HIGH_HZ, LOW_HZ, RATE_HZ, say, write_tone_model

__all__ = ["CANTONESE", "MANDARIN", "RATE_HZ", "Installation", "speak", "write_installation"]


def _hertz(mel_bin: int) -> float:
    """The centre of a mel bin."""
    low, high = (1127.0 * math.log(1.0 + f / 700.0) for f in (LOW_HZ, HIGH_HZ))
    mel = low + (high - low) / (BINS + 1) * (mel_bin + 1)
    return 700.0 * (math.exp(mel / 1127.0) - 1.0)


#: word -> (tone, cost): every second mel bin, Mandarin below and Cantonese well above.
MANDARIN = {
    word: (_hertz(8 + 2 * i), 1.0)
    for i, word in enumerate(["我要查", "社保", "不是", "公积金", "人工", "天上有月亮"])
}
CANTONESE = {
    word: (_hertz(24 + 2 * i), 1.0)
    for i, word in enumerate(["我想查吓", "社保", "唔系", "公积金", "人工", "天上有月光", "系"])
}
_WORDS = {Language.MANDARIN: MANDARIN, Language.CANTONESE: CANTONESE}

QUEUES = """
default_queue: general
person:
  key: "0"
  phrases: {cmn: [人工, 转人工, 我要人工], yue: [人工, 转人工, 揾人听]}
emergencies:
  - number: "119"
    name: {cmn: 火警, yue: 火警, en: Fire}
    phrases: {cmn: [着火了, 起火了, 房子烧起来了], yue: [火烛啊, 着咗火, 间屋烧紧]}
queues:
  - id: social_security
    name: {cmn: 社会保障, yue: 社会保障, en: Social security}
    agents: 4
    hours: 24x7
    phrases:
      cmn: [我要查社保, 养老保险怎么交, 医保卡丢了, 失业金怎么领, 社保断交了]
      yue: [我想查吓社保, 养老保险点样供, 医保卡唔见咗, 失业金点攞, 社保断咗]
  - id: housing_fund
    name: {cmn: 城管公积金, yue: 城管公积金, en: Housing fund}
    agents: 4
    hours: 24x7
    phrases:
      cmn: [我要查公积金, 公积金怎么提取, 路边乱摆摊, 工地太吵, 公积金贷款]
      yue: [我想查吓公积金, 公积金点样攞, 路边有人摆档, 地盘好嘈, 公积金借钱]
  - id: general
    name: {cmn: 综合, yue: 综合, en: General}
    agents: 4
    hours: 24x7
    phrases:
      cmn: [学校报名, 看病挂号, 结婚登记, 公交车不来, 养老院床位]
      yue: [小朋友入学, 睇医生挂号, 点样注册结婚, 巴士成日唔嚟, 老人院有冇位]
"""

SETTINGS = """
languages:
  cmn: { engine: vosk, model: models/cmn }
  yue: { engine: vosk, model: models/yue }
server: { port: 0, max_calls: 3, shed_lag_s: 60, max_message_bytes: 65536, idle_timeout_s: 20 }
recognition: { workers: 2, voice_gate: false }  # tones are no voice
dialogue: { barge_in: words }  # tones are no voice
"""


@dataclass(frozen=True)
class Installation:
    """Where it lies."""

    home: Path

    @property
    def config(self) -> Path:
        """Its kapok.yaml."""
        return self.home / "config" / "kapok.yaml"

    def settings(self) -> Settings:
        return load_settings(self.config)

    def services(self) -> Services:
        return Services.load(self.settings())


def write_installation(home: Path) -> Installation:
    """Write one into the folder ``home``."""
    (home / "config").mkdir(parents=True)
    (home / "config" / "kapok.yaml").write_text(SETTINGS, encoding="utf-8")
    (home / "config" / "queues.yaml").write_text(QUEUES, encoding="utf-8")
    for language, words in _WORDS.items():
        write_tone_model(home / "models" / language, words)
    return Installation(home)


def speak(language: Language, *words: str, rate_hz: int = RATE_HZ, after_s: float = 1.2) -> bytes:
    """Words as PCM, s16le; with the silence after them that ends an utterance."""
    return say(_WORDS[language], *words, rate_hz=rate_hz, after_s=after_s)


def write_wav(path: Path, pcm: bytes, *, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return path
