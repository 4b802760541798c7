"""Fit the language decision on held-out speakers and synthetic voices; writes ``models/language.json``.

    python -m training.language --data ../shared/data --models models

Each utterance is decoded by both models, and heard by the network of
:mod:`training.spoken_language`, as on a call. The evidence of :mod:`ivr.asr.language_decision` is
weighted by a logistic regression (L2), real and synthetic speech of both languages weighing the
same. The development set is only reported on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ivr.asr.engine import Engine, Recognition
from ivr.asr.factory import (
    GATED_FRAMES_PER_CHUNK,
    LANGUAGE_NETWORK,
    LANGUAGE_WEIGHTS,
    EngineFactory,
)
from ivr.asr.language_decision import FEATURES, LanguageDecider, Weights, features, score_per_s
from ivr.asr.models import model_id
from ivr.asr.spoken_language import SpokenLanguageModel
from ivr.language import Language
from training import espeak, line, places
from training.corpus import RATE_HZ, Corpus, read_development
from training.factory import Factory
from training.pronunciation import syllables

__all__ = ["Evidence", "Sample", "fit", "listen", "main"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one utterance."""

    recognitions: dict[Language, Recognition]
    sound: float  # log-odds of Cantonese by the sound alone


#: language, kind, evidence
Sample = tuple[Language, str, Evidence]
RIDGE = 0.02
#: What scores less than this share of all but one in 200 utterances of speech is noise.
NOISE_SHARE, SPEECH_LOST = 0.75, 0.005
SILENCE = np.zeros(int(0.6 * RATE_HZ), np.float32)


def listen(
    engines: Mapping[Language, Engine],
    network: SpokenLanguageModel | None,
    samples: np.ndarray,
) -> Evidence:
    """Both languages' reading of one utterance, and what its sound tells."""
    pcm = np.clip(np.concatenate([samples, SILENCE]), -32767, 32767).astype("<i2").tobytes()
    out, sound = {}, 0.0
    if network is not None:
        stream = network.stream()
        stream.hear(pcm[: 2 * len(samples)])
        sound = stream.log_odds
    for language, engine in engines.items():
        recogniser = engine.recogniser()
        for i in range(0, len(pcm), 3200):
            recogniser.accept(pcm[i : i + 3200])
        out[language] = recogniser.finish()
    return Evidence(out, sound)


def training_samples(
    engines: Mapping[Language, Engine],
    network: SpokenLanguageModel | None,
    corpus: Corpus,
    factory: Factory,
    synthetic: int,
    cuts_s: list[float],
) -> Iterator[Sample]:
    """Held-out speakers over simulated lines, cut after each of ``cuts_s``; espeak-ng voices."""
    rng = np.random.default_rng(7)
    for clip in corpus.tuning:
        for most_s in cuts_s:
            x = clip.audio[: int(most_s * RATE_HZ)].astype(np.float32)
            x, _ = line.transmit(line.speed(x, rng.uniform(0.9, 1.12)), rng, babble=factory.babble)
            yield Language(clip.language), "real", listen(engines, network, x)
    for language in Language:
        for _ in range(synthetic):
            text = factory.domain[language][rng.integers(len(factory.domain[language]))]
            variant = espeak.TRAINING_VARIANTS[rng.integers(len(espeak.TRAINING_VARIANTS))]
            x = espeak.speak(
                syllables(text, language) or [],
                language,
                variant=variant,
                words_per_minute=int(rng.integers(130, 220)),
                pitch=int(rng.integers(20, 85)),
            )
            if len(x) > 1000:
                x, _ = line.transmit(x, rng, babble=factory.babble)
                yield language, "synthetic", listen(engines, network, x)


def fit(samples: list[Sample]) -> tuple[np.ndarray, float]:
    """Weights of :data:`FEATURES` and the bias, by penalised maximum likelihood."""
    x = np.array(
        [
            features(e.recognitions[Language.MANDARIN], e.recognitions[Language.CANTONESE], e.sound)
            for _, _, e in samples
        ]
    )
    y = np.array([1.0 if language is Language.CANTONESE else -1.0 for language, _, _ in samples])
    groups = [(language, kind) for language, kind, _ in samples]
    share = np.array([1 / groups.count(g) for g in groups])
    share /= share.sum()
    scale = x.std(0) + 1e-6

    def loss(w: np.ndarray) -> float:
        margin = y * (x / scale @ w[:-1] + w[-1])
        return float(share @ np.logaddexp(0, -margin) + RIDGE * (w[:-1] ** 2).sum() / len(w))

    w = minimize(loss, np.zeros(len(FEATURES) + 1), method="L-BFGS-B").x
    return w[:-1] / scale, float(w[-1])


def least_score_per_s(samples: list[Sample]) -> float:
    """Below this is noise: a share of what nearly all utterances of real people reach."""
    real = [score_per_s(e.recognitions) for _, kind, e in samples if kind == "real"]
    return round(NOISE_SHARE * float(np.quantile(real, SPEECH_LOST)), 2)


def accuracy(decider: LanguageDecider, samples: list[Sample]) -> dict[str, float]:
    """Share decided right, by language and kind."""
    right: dict[str, list[bool]] = {}
    for language, kind, e in samples:
        hit = decider.decide(e.recognitions, sound=e.sound).language is language
        right.setdefault(f"{language} {kind}", []).append(hit)
    return {k: round(sum(v) / len(v), 4) for k, v in right.items()}


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work", "models")
    p.add_argument("--synthetic", type=int, default=200, help="espeak-ng utterances a language")
    p.add_argument("--cuts", type=float, nargs="+", default=[8.0, 4.0, 1.8, 1.2], help="seconds")
    p.add_argument("--no-development", action="store_true", help="do not report on it")
    a = p.parse_args()
    engine_factory = EngineFactory(frames_per_chunk=GATED_FRAMES_PER_CHUNK)
    engines = {k: engine_factory.load("kapok", a.models / k, k) for k in Language}
    network = SpokenLanguageModel.load(a.models / LANGUAGE_NETWORK)
    corpus = Corpus.cached(a.data / "speech", a.work / "corpus.pickle")
    factory = Factory(corpus, a.data / "text", a.queues)
    samples = list(training_samples(engines, network, corpus, factory, a.synthetic, a.cuts))
    weights, bias = fit(samples)
    development = [
        (
            Language(c.language),
            "development",
            listen(engines, network, line.mulaw(c.audio.astype(np.float32))),
        )
        for c in ([] if a.no_development else read_development(a.data / "dev"))
    ]
    decider = LanguageDecider(
        Weights(
            bias=round(bias, 4),
            least_score_per_s=least_score_per_s(samples),
            weights={k: round(float(v), 4) for k, v in zip(FEATURES, weights, strict=True)},
            models={k: model_id(a.models / k) for k in Language},
        )
    )
    fitted = {**accuracy(decider, samples), **accuracy(decider, development)}
    decider = LanguageDecider(decider.weights.model_copy(update={"fitted": fitted}))
    decider.save(a.models / LANGUAGE_WEIGHTS)
    print("\n".join(f"{k:20s} {v:.4f}" for k, v in fitted.items()))


if __name__ == "__main__":
    main()
