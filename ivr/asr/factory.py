"""From the settings to what recognises the speech of a call.

Engines are known by name; ``kapok``, ``vosk`` and ``sherpa`` are built in. A model directory is
loaded once, however many calls and languages use it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ivr.asr.bilingual import BilingualRecogniser, EndpointRules
from ivr.asr.engine import Engine
from ivr.asr.hot_words import add_hot_words, supports_hot_words
from ivr.asr.kapok_engine import KapokEngine
from ivr.asr.language_decision import LanguageDecider
from ivr.asr.models import check_vosk_directory, model_id
from ivr.asr.second_pass import TwoPassEngine, load_second_pass
from ivr.asr.sherpa_engine import SherpaEngine
from ivr.asr.spoken_language import SpokenLanguageModel
from ivr.asr.voice_gate import VoiceGate
from ivr.asr.vosk_engine import VoskEngine
from ivr.call.voice import VoiceModel
from ivr.errors import ConfigError
from ivr.language import Language
from ivr.settings import LanguageSettings, Settings

__all__ = [
    "LANGUAGE_NETWORK",
    "LANGUAGE_WEIGHTS",
    "EngineFactory",
    "Loader",
    "Speech",
    "load_speech",
]

_log = logging.getLogger(__name__)

#: The weights of the language decision, beside the model directories.
LANGUAGE_WEIGHTS = "language.json"

#: The network that hears the language in the sound alone, beside them too.
LANGUAGE_NETWORK = "language.onnx"

#: Where a voice gate finds the end of speech, networks may run in large blocks: 1.2 s.
GATED_FRAMES_PER_CHUNK = 120

Loader = Callable[[Path, Language], Engine]


class EngineFactory:
    """Loads engines by name, each model directory once.

    Args:
        loaders: more engines, name -> function of a model path and a language.
        hot_words: words that Kapok's own models are to know besides; others go on without.
        frames_per_chunk: of the network, Kapok's or Vosk's, see :meth:`VoskEngine.load`.
    """

    def __init__(
        self,
        loaders: Mapping[str, Loader] | None = None,
        *,
        hot_words: Sequence[str] = (),
        frames_per_chunk: int | None = None,
    ) -> None:
        self._hot_words = tuple(hot_words)
        self._frames_per_chunk = frames_per_chunk
        self._vosk: dict[Path, VoskEngine] = {}
        self._sherpa: dict[Path, SherpaEngine] = {}
        self._loaders: dict[str, Loader] = {
            "kapok": self._load_kapok,
            "vosk": self._load_vosk,
            "sherpa": self._load_sherpa,
            **(loaders or {}),
        }

    @property
    def hot_words(self) -> tuple[str, ...]:
        """Words that Kapok's own models know besides."""
        return self._hot_words

    @property
    def names(self) -> tuple[str, ...]:
        """The engines that can be named in the settings."""
        return tuple(sorted(self._loaders))

    def load(self, name: str, path: Path, language: Language) -> Engine:
        """An engine for a language.

        Raises:
            ConfigError: no engine has that name.
            ModelError: the model cannot be loaded.
        """
        if name not in self._loaders:
            raise ConfigError(
                f"languages.{language}.engine is {name!r}: no such engine; "
                f"use one of {', '.join(self.names)}"
            )
        return self._loaders[name](path, language)

    def _load_vosk(self, path: Path, language: Language) -> Engine:
        if self._hot_words:
            if supports_hot_words(path):
                return self._with_hot_words(path, language)
            _log.warning("%s: hot words cannot be added to this model; it goes on without", path)
        key = path.resolve()
        if key not in self._vosk:
            self._vosk[key] = VoskEngine.load(
                path, language, frames_per_chunk=self._frames_per_chunk
            )
        return self._vosk[key].for_language(language)

    def _with_hot_words(self, path: Path, language: Language) -> VoskEngine:
        plain = check_vosk_directory(path)
        with tempfile.TemporaryDirectory(prefix="kapok-") as folder:
            laid_out = Path(folder, path.name)
            refused = add_hot_words(path, self._hot_words, language, laid_out)
            _warn_of(refused, path)
            loaded = VoskEngine.load(laid_out, language, frames_per_chunk=self._frames_per_chunk)
            return loaded.found_in(plain)

    def _load_kapok(self, path: Path, language: Language) -> Engine:
        engine = KapokEngine.load(
            path,
            language,
            hot_words=self._hot_words,
            frames_per_chunk=self._frames_per_chunk,
        )
        _warn_of(engine.model.refused, path)
        return engine

    def _load_sherpa(self, path: Path, language: Language) -> Engine:
        key = path.resolve()
        if key not in self._sherpa:
            self._sherpa[key] = SherpaEngine.load(path, language)
        return self._sherpa[key].for_language(language)


def _warn_of(refused: Sequence[str], path: Path) -> None:
    if refused:
        _log.warning("%s: the model cannot spell %s", path, ", ".join(refused))


@dataclass(frozen=True)
class Speech:
    """Everything that recognition needs, loaded; shared by all calls."""

    engines: Mapping[Language, Engine]
    decider: LanguageDecider = field(default_factory=LanguageDecider)
    rules: EndpointRules = field(default_factory=EndpointRules)
    alternatives: int = 10
    #: finds the speech in a call's audio; None: all audio is decoded
    voice: VoiceModel | None = None
    #: hears the language in the sound alone; None: the recognisers decide it
    sound: SpokenLanguageModel | None = None
    #: where one language fits so many times as well as speech must, the other is not asked; None:
    #: both are, always
    sure_score: float | None = None
    #: threads that a server needs for each core: these decode themselves
    jobs_each: ClassVar[int] = 1

    @property
    def rate_hz(self) -> int:
        """The highest native rate of the models, Hertz: audio of more than that gains nothing."""
        return max(engine.rate_hz for engine in self.engines.values())

    @property
    def hears_again(self) -> bool:
        """Whether a finished utterance is heard again, by a second pass."""
        return any(isinstance(engine, TwoPassEngine) for engine in self.engines.values())

    def call(self, *, rate_hz: int = 8000, alternatives: int | None = None) -> BilingualRecogniser:
        """A recogniser for a new call whose audio comes at ``rate_hz``."""
        count = self.alternatives if alternatives is None else alternatives
        recognisers = {
            language: engine.recogniser(alternatives=count)
            for language, engine in self.engines.items()
        }
        gate = VoiceGate(self.voice.stream()) if self.voice is not None else None
        return BilingualRecogniser(
            recognisers,
            self.decider,
            rate_hz=rate_hz,
            rules=self.rules,
            gate=gate,
            sure_score=self.sure_score,
            sound=self.sound.stream() if self.sound is not None else None,
        )


def load_speech(
    settings: Settings,
    *,
    languages: Iterable[Language] = tuple(Language),
    hot_words: Sequence[str] = (),
    factory: EngineFactory | None = None,
) -> Speech:
    """Load the models of ``languages`` as the settings name them, with an operator's new words.

    Raises:
        ConfigError: an engine is unknown.
        ModelError: a model is missing, incomplete or cannot be loaded.
    """
    gated = settings.recognition.voice_gate
    factory = factory or EngineFactory(
        hot_words=hot_words, frames_per_chunk=GATED_FRAMES_PER_CHUNK if gated else None
    )
    chosen = {language: settings.languages[language] for language in languages}
    engines = {language: _engine(factory, entry, language) for language, entry in chosen.items()}
    return Speech(
        engines=engines,
        decider=_decider({language: entry.model for language, entry in chosen.items()}),
        rules=EndpointRules(max_utterance_s=settings.recognition.max_utterance_s),
        alternatives=settings.recognition.alternatives,
        voice=VoiceModel.load() if gated else None,
        sure_score=settings.recognition.sure_score,
        sound=_sound([entry.model for entry in chosen.values()]),
    )


def _engine(factory: EngineFactory, entry: LanguageSettings, language: Language) -> Engine:
    engine = factory.load(entry.engine, entry.model, language)
    if entry.second_pass is None:
        return engine
    second = load_second_pass(
        entry.second_pass, language, first=entry.model, hot_words=factory.hot_words
    )
    return TwoPassEngine(engine, second)


def _sound(models: Sequence[Path]) -> SpokenLanguageModel | None:
    """The network beside the models, which need not be ours: it hears the sound, not them."""
    found = next(_beside(models, LANGUAGE_NETWORK), None) if len(models) > 1 else None
    return SpokenLanguageModel.load(found) if found is not None else None


def _decider(models: Mapping[Language, Path]) -> LanguageDecider:
    """Weights that were fitted on these very models, or else the built-in ones."""
    ids = {language: model_id(path) for language, path in models.items()}
    for file in _beside(models.values(), LANGUAGE_WEIGHTS):
        decider = LanguageDecider.load(file)
        if decider.fits(ids):
            return decider
        _log.warning(
            "%s was fitted on other models than %s: deciding the language without it",
            file,
            ", ".join(ids.values()),
        )
    return LanguageDecider()


def _beside(models: Iterable[Path], name: str) -> Iterator[Path]:
    """The files of that name beside the model directories."""
    for parent in dict.fromkeys(path.parent for path in models):
        if (parent / name).exists():
            yield parent / name
