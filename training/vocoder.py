"""Continuous speech made from recorded syllables and words, by the WORLD vocoder.

    python -m training.vocoder

Leaves ``work/resynthesis.pickle``; with ``--voices N`` ``work/revoiced.pickle``, the sentences of real
people in N other voices each, with their words and their timing (:func:`revoiced`); with ``--alone
N`` ``work/alone.pickle``, all single syllables of a speaker in N other voices (:func:`alone`). A
second run finds them and does nothing.

Each recording of a word or syllable is taken apart into pitch, spectral envelope and voicing (WORLD:
Morise, Yokomori and Ozawa 2016, through ``pyworld``) and put together anew as part of a sentence:

*Durations* of initials and finals are drawn from those of the aligned sentences of real people;
the last syllable before a pause is longer.

*Pitch* is one continuous contour: each syllable's own shape within the speaker's range, narrowed as
in connected speech, smoothed over the borders (so that a tone begins where the last one ended, Xu
1997), on a falling line (declination). Mandarin tone sandhi: a third tone before another is spoken
as a second, before any other tone only its first half.

*Spectra* glide over the joins. Formants and pitch are moved together to another voice: man, woman
or child.
"""

from __future__ import annotations

import multiprocessing as mp
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyworld
from scipy.ndimage import gaussian_filter1d

from training import places
from training.corpus import RATE_HZ, Clip, Corpus
from training.pronunciation import LANGUAGES, parse, units

__all__ = [
    "Durations",
    "Sound",
    "Voice",
    "alone",
    "analyse",
    "resynthesised",
    "revoiced",
    "sandhi",
    "say",
]

Doubles = npt.NDArray[np.float64]
Bank = dict[tuple[str, ...], Clip]

FRAME_S = 0.005
F0_FLOOR_HZ, F0_CEILING_HZ = 70.0, 500.0
UTTERANCES = 6000  # a language
PARTS = 6  # of the sentences of a language, so that all cores have work
TONE_SMOOTHING_S = 0.025  # deviation of the window that joins the tones
GLIDE_S = 0.015  # deviation of the window that joins the spectra
LAST_SYLLABLE = 1.35  # how much longer it is
#: Of the voices drawn: men, women and children.
SHARES = (0.5, 0.42, 0.08)
#: The same of somebody who was recorded, in another voice: mostly of the other sex, of which there
#: may be few (a fifth of those who read to us in Mandarin are women).
SHARES_OF_MEN, SHARES_OF_WOMEN = (0.15, 0.75, 0.1), (0.6, 0.3, 0.1)
HIGHEST_MAN_HZ = 160.0


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording taken apart. F frames of 5 ms, B bins of the envelope."""

    syllables: tuple[str, ...]
    spans: npt.NDArray[np.float32]  # (units, 2) seconds
    pitch: Doubles  # (F,) natural log of Hz, continued through what is not voiced
    voiced: npt.NDArray[np.bool_]  # (F,)
    envelope: npt.NDArray[np.float32]  # (F, B) natural log of power


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks."""

    pitch_hz: float
    formants: float  # factor of the formant frequencies
    liveliness: float  # share of the recorded pitch range that is kept
    pace: float  # factor of the durations
    fall: float  # declination, natural log of Hz a second

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        *,
        source_hz: float,
        shares: tuple[float, float, float] = SHARES,
    ) -> Voice:
        """A man, a woman or a child; formants go by about a third of the way of the pitch.

        ``shares``: how likely each is.
        """
        low, high = ((85, 150), (165, 255), (230, 330))[rng.choice(3, p=shares)]
        pitch = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        formants = (pitch / source_hz) ** rng.uniform(0.2, 0.35) * np.exp(rng.uniform(-0.05, 0.05))
        return cls(
            pitch_hz=pitch,
            formants=float(np.clip(formants, 0.78, 1.25)),
            liveliness=float(rng.uniform(0.5, 1.0)),
            pace=float(np.exp(rng.uniform(-0.25, 0.25))),
            fall=float(rng.uniform(0.02, 0.15)),
        )

    @classmethod
    def of_another(cls, rng: np.random.Generator, *, source_hz: float) -> Voice:
        """Mostly a woman where a man was recorded, at ``source_hz``, and a man where a woman was."""
        man = source_hz < HIGHEST_MAN_HZ
        shares = SHARES_OF_MEN if man else SHARES_OF_WOMEN
        return cls.drawn(rng, source_hz=source_hz, shares=shares)


class Durations:
    """How long units last in the sentences of real people."""

    def __init__(self, clips: Sequence[Clip], language: str) -> None:
        found: dict[str, list[float]] = defaultdict(list)
        for clip in clips:
            assert clip.spans is not None, "an unprepared corpus: run python -m training.prepare"
            names = units(list(clip.syllables), language)
            for name, (begin, end) in zip(names, clip.spans, strict=True):
                if 0.02 < end - begin < 0.6:
                    found[name.rstrip("0123456789")].append(float(np.log(end - begin)))
        everything = [x for xs in found.values() for x in xs] or [np.log(0.1)]
        self._any = (float(np.mean(everything)), float(np.std(everything)))
        self._of = {
            k: (float(np.mean(x)), float(np.std(x))) for k, x in found.items() if len(x) > 9
        }

    def drawn(self, unit: str, rng: np.random.Generator) -> float:
        """Seconds of one unit, within a deviation and a half of its mean."""
        mean, deviation = self._of.get(unit.rstrip("0123456789"), self._any)
        return float(np.exp(mean + deviation * np.clip(rng.standard_normal(), -1.5, 1.5)))


def sandhi(syllables: Sequence[str], language: str) -> list[str]:
    """The syllables as they are pronounced one after the other.

    >>> sandhi(["ni3", "hao3"], "cmn")
    ['ni2', 'hao3']
    """
    out = list(syllables)
    if language == "cmn":
        for i in range(len(out) - 1):
            if out[i].endswith("3") and out[i + 1].endswith("3"):
                out[i] = out[i][:-1] + "2"
    return out


def analyse(clip: Clip) -> Sound | None:
    """Pitch, voicing and envelope of a recording; None where hardly anything is voiced."""
    assert clip.spans is not None, "an unprepared corpus: run python -m training.prepare"
    x = clip.audio.astype(np.float64)
    x += np.random.default_rng(len(x)).standard_normal(len(x))
    f0, at = pyworld.dio(x, RATE_HZ, F0_FLOOR_HZ, F0_CEILING_HZ, frame_period=1000 * FRAME_S)
    f0 = pyworld.stonemask(x, f0, at, RATE_HZ)
    voiced = f0 > 0
    if voiced.sum() < 8:
        return None
    frames = np.arange(len(f0))
    pitch = np.interp(frames, frames[voiced], np.log(f0[voiced]))
    envelope = np.log(pyworld.cheaptrick(x, f0, at, RATE_HZ) + 1e-9).astype(np.float32)
    return Sound(clip.syllables, clip.spans, pitch, voiced, envelope)


def say(
    sounds: Sequence[tuple[Sound, Sequence[str]]],
    voice: Voice,
    durations: Durations,
    language: str,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int16], list[str], npt.NDArray[np.float32]]:
    """One phrase from recordings with the syllables that each stands for.

    Returns the samples, the syllables, and the span of every unit (units, 2) in seconds.
    """
    home = float(np.median(np.concatenate([s.pitch[s.voiced] for s, _ in sounds])))
    pitch, voiced, envelope = list[Doubles](), list[npt.NDArray[np.bool_]](), []
    spans, spoken, frames = list[tuple[float, float]](), list[str](), 0
    for number, (sound, labels) in enumerate(sounds):
        gain = rng.uniform(-0.7, 0.3)
        for k, label in enumerate(labels):
            last = number == len(sounds) - 1 and k == len(labels) - 1
            half = language == "cmn" and label.endswith("3") and not last
            for unit, source in _units_of(sound, k, label, language):
                seconds = durations.drawn(unit, rng) * voice.pace * (LAST_SYLLABLE if last else 1)
                n = max(6, round(seconds / FRAME_S))
                where = _stretched(source, n, half and unit[-1:].isdigit())
                nearest = np.clip(np.rint(where).astype(int), 0, len(sound.pitch) - 1)
                pitch.append(np.interp(where, np.arange(len(sound.pitch)), sound.pitch) - home)
                voiced.append(sound.voiced[nearest])
                envelope.append(sound.envelope[nearest] + np.float32(gain))
                spans.append((frames * FRAME_S, (frames + n) * FRAME_S))
                frames += n
            spoken.append(label)
    contour = voice.liveliness * np.concatenate(pitch)
    contour = gaussian_filter1d(contour, TONE_SMOOTHING_S / FRAME_S, mode="nearest")
    contour += np.log(voice.pitch_hz) + voice.fall * (0.5 * frames - np.arange(frames)) * FRAME_S
    f0 = np.where(np.concatenate(voiced), np.clip(np.exp(contour), 60, 480), 0.0)
    power = _moved(_glided(np.concatenate(envelope), spans), voice.formants)
    samples = pyworld.synthesize(
        f0,
        np.ascontiguousarray(np.exp(power), dtype=np.float64),
        _aperiodicity(f0, power.shape[1]),
        RATE_HZ,
        frame_period=1000 * FRAME_S,
    )
    samples *= 9000 / max(1.0, float(np.abs(samples).max()))
    return samples.astype(np.int16), spoken, np.array(spans, np.float32)


def _units_of(
    sound: Sound, k: int, label: str, language: str
) -> list[tuple[str, tuple[float, float]]]:
    """Units of ``label`` with the frames of the sound's syllable ``k`` that they take."""
    at = sum(len(units([s], language)) for s in sound.syllables[:k])
    has, wanted = len(units([sound.syllables[k]], language)), units([label], language)
    rows = sound.spans[at : at + has] / FRAME_S
    begin, end = float(rows[0, 0]), float(rows[-1, 1])
    if len(wanted) == 1:
        return [(wanted[0], (begin, end))]
    middle = float(rows[0, 1]) if has == 2 else begin + 0.2 * (end - begin)
    return [(wanted[0], (begin, middle)), (wanted[1], (middle, end))]


def _stretched(source: tuple[float, float], frames: int, half: bool) -> Doubles:
    """Source frames of ``frames`` new ones; only the first half of a half third tone."""
    begin, end = source
    if half:
        end = begin + 0.6 * (end - begin)
    return np.linspace(begin, max(begin + 1, end - 1), frames)


def _glided(
    envelope: npt.NDArray[np.float32], spans: Sequence[tuple[float, float]]
) -> npt.NDArray[np.float32]:
    """The envelope with its jumps between units smoothed, the rest left as it is."""
    smooth = gaussian_filter1d(envelope, GLIDE_S / FRAME_S, axis=0, mode="nearest")
    share = np.zeros(len(envelope), np.float32)
    frame = np.arange(len(envelope))
    for begin, _ in spans[1:]:
        apart = np.abs(frame - begin / FRAME_S) * FRAME_S
        share = np.maximum(share, np.clip(1 - apart / (2 * GLIDE_S), 0, 1))
    return np.asarray(envelope * (1 - share[:, None]) + smooth * share[:, None], np.float32)


def _moved(envelope: npt.NDArray[np.float32], factor: float) -> npt.NDArray[np.float32]:
    """The envelope with all its frequencies ``factor`` times as high."""
    bins = envelope.shape[1]
    where = np.minimum(np.arange(bins) / factor, bins - 1.001)
    low = where.astype(int)
    share = (where - low).astype(np.float32)
    return np.asarray(envelope[:, low] * (1 - share) + envelope[:, low + 1] * share, np.float32)


def _aperiodicity(f0: Doubles, bins: int) -> Doubles:
    """Noise in the excitation: little in voiced frames, more towards 4 kHz; all of the others.

    WORLD's own estimate looks at bands that a telephone line has not.
    """
    ramp = 0.02 + 0.4 * np.linspace(0, 1, bins) ** 2
    return np.where(f0[:, None] > 0, ramp[None, :], 1.0)


class _Speaker:
    """Recordings of one speaker, words and syllables, found by what is said."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.bank: Bank = {}
        for clip in clips:
            self.bank.setdefault(clip.syllables, clip)
        self.longest = max(map(len, self.bank))
        self._sounds: dict[tuple[str, ...], Sound | None] = {}

    def cut(self, spoken: Sequence[str]) -> list[tuple[tuple[str, ...], int]] | None:
        """Recordings that make up the syllables, longest first, with where each begins."""
        out, i = [], 0
        while i < len(spoken):
            for n in range(min(self.longest, len(spoken) - i), 0, -1):
                if tuple(spoken[i : i + n]) in self.bank:
                    out.append((tuple(spoken[i : i + n]), i))
                    i += n
                    break
            else:
                return None
        return out

    def sound(self, key: tuple[str, ...]) -> Sound | None:
        """The recording taken apart, once."""
        if key not in self._sounds:
            self._sounds[key] = analyse(self.bank[key])
        return self._sounds[key]


def _by_person(clips: Sequence[Clip]) -> list[list[Clip]]:
    """The recordings of each, without copies in other voices."""
    out: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.speaker == clip.person:
            out[clip.person].append(clip)
    return list(out.values())


def resynthesised(
    language: str,
    corpus: Corpus,
    texts: Sequence[Sequence[str]],
    count: int,
    rng: np.random.Generator,
) -> list[Clip]:
    """``count`` utterances of the texts (toned syllables) in voices without end."""
    people = _by_person(corpus.of(language, "word", "syllable"))
    speakers = [_Speaker(clips) for clips in people if len(clips) > 200]
    durations = Durations(corpus.of(language, "sentence", "phrase"), language)
    out: list[Clip] = []
    for text in texts:
        if len(out) >= count:
            break
        speaker = speakers[rng.integers(len(speakers))]
        spoken = sandhi(text, language)
        cut = speaker.cut(spoken) if text and all(parse(s, language) for s in text) else None
        sounds = [(speaker.sound(key), text[i : i + len(key)]) for key, i in cut or []]
        known = [(s, labels) for s, labels in sounds if s is not None]
        if not known or len(known) < len(sounds):
            continue
        source_hz = float(np.exp(np.median(np.concatenate([s.pitch for s, _ in known]))))
        voice = Voice.drawn(rng, source_hz=source_hz)
        samples, labels, spans = say(known, voice, durations, language, rng)
        name = f"world {voice.pitch_hz:.0f} Hz"
        out.append(Clip(language, "resynthesis", "world", name, "", tuple(labels), samples, spans))
    return out


def revoiced(clip: Clip, count: int, rng: np.random.Generator) -> list[Clip]:
    """The recording in other voices: pitch and its range, formants, pace; the words as they were.

    A man mostly becomes a woman, and a woman a man. Nothing where hardly anything is voiced.
    """
    sound = analyse(clip)
    if sound is None:
        return []
    home = _home(sound)

    def said() -> Clip:
        voice = Voice.of_another(rng, source_hz=float(np.exp(home)))
        return _spoken_by(voice, clip, sound, home, float(rng.uniform(0.7, 1.25)))

    return [replace(said(), kind="revoiced") for _ in range(count)]


def alone(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> list[Clip]:
    """All of one speaker's single syllables in ``count`` other voices.

    A voice keeps its pitch and formants from syllable to syllable, and the distance of each tone
    from the middle of the voice: alone, nothing else tells a high tone from a low one.
    """
    sounds = [(c, s) for c in clips if (s := analyse(c)) is not None]
    if not sounds:
        return []
    home = float(np.median([_home(s) for _, s in sounds]))
    voices = [Voice.of_another(rng, source_hz=float(np.exp(home))) for _ in range(count)]
    return [_spoken_by(v, c, s, home, 1.0) for v in voices for c, s in sounds]


def _home(sound: Sound) -> float:
    """The middle of a recording's pitch, natural log of Hz."""
    return float(np.median(sound.pitch[sound.voiced]))


def _spoken_by(voice: Voice, clip: Clip, sound: Sound, home: float, spread: float) -> Clip:
    """The recording in a voice; ``home`` becomes its pitch, distances from it ``spread`` times."""
    where = np.arange(0, len(sound.pitch) - 1, 1 / voice.pace)
    nearest = np.rint(where).astype(int)
    contour = np.interp(where, np.arange(len(sound.pitch)), sound.pitch) - home
    contour = contour * spread + np.log(voice.pitch_hz)
    f0 = np.where(sound.voiced[nearest], np.clip(np.exp(contour), 60, 480), 0.0)
    power = _moved(sound.envelope[nearest], voice.formants)
    power = np.ascontiguousarray(np.exp(power), dtype=np.float64)
    samples = pyworld.synthesize(
        f0, power, _aperiodicity(f0, power.shape[1]), RATE_HZ, frame_period=1000 * FRAME_S
    )
    samples *= 9000 / max(1.0, float(np.abs(samples).max()))
    return replace(
        clip,
        speaker=f"{clip.speaker}@{voice.pitch_hz:.0f} Hz",
        audio=samples.astype(np.int16),
        spans=(sound.spans * voice.pace).astype(np.float32),
    )


def _revoiced(language: str, work: Path, count: int, part: int) -> list[Clip]:
    from training.prepare import load

    began = time.monotonic()
    rng = np.random.default_rng([12, len(language), ord(language[0]), part])
    clips = load(work).of(language, "sentence", "phrase")[part::PARTS]
    made = [r for c in clips for r in revoiced(c, count, rng)]
    hours = sum(len(c.audio) for c in made) / RATE_HZ / 3600
    print(
        f"{language}, part {part + 1} of {PARTS}: {len(made)} in other voices, {hours:.1f} h, "
        f"{time.monotonic() - began:.0f} s"
    )
    return made


def _alone(language: str, work: Path, count: int) -> list[Clip]:
    from training.prepare import load

    began, rng = time.monotonic(), np.random.default_rng([13, len(language), ord(language[0])])
    people = _by_person(load(work).of(language, "syllable"))
    made = [c for clips in people for c in alone(clips, count, rng)]
    print(f"{language}: {len(made)} syllables alone, {time.monotonic() - began:.0f} s")
    return made


def _language(language: str, work: Path, data: Path, queues: Path, count: int) -> list[Clip]:
    from training.factory import Factory
    from training.prepare import load

    began = time.monotonic()
    corpus = load(work)
    factory = Factory(corpus, data / "text", queues)
    rng = np.random.default_rng([11, len(language), ord(language[0])])
    texts = [factory.spoken_text(language, rng)[:14] for _ in range(2 * count)]
    made = resynthesised(language, corpus, texts, count, rng)
    hours = sum(len(c.audio) for c in made) / RATE_HZ / 3600
    print(f"{language}: {len(made)} utterances, {hours:.1f} h, {time.monotonic() - began:.0f} s")
    return made


def main() -> None:
    """Command line."""
    p = places.parser(__doc__, "data", "queues", "work")
    p.add_argument("--voices", type=int, default=0, help="copies of each sentence in others")
    p.add_argument("--voices-yue", type=int, help="where Cantonese, with fewer people, has more")
    p.add_argument("--alone", type=int, default=0, help="other voices of single syllables")
    p.add_argument("--count", type=int, default=UTTERANCES, help="utterances a language")
    a = p.parse_args()
    with mp.Pool(len(LANGUAGES)) as pool:
        texts = [(k, a.work, a.data, a.queues, a.count) for k in LANGUAGES]
        _keep(a.work / "resynthesis.pickle", lambda: pool.starmap(_language, texts, chunksize=1))
        if a.voices:
            copies = dict.fromkeys(LANGUAGES, a.voices)
            if a.voices_yue is not None:
                copies["yue"] = a.voices_yue
            voices = [(k, a.work, copies[k], i) for k in LANGUAGES for i in range(PARTS)]
            _keep(a.work / "revoiced.pickle", lambda: pool.starmap(_revoiced, voices, chunksize=1))
        if a.alone:
            banks = [(k, a.work, a.alone) for k in LANGUAGES]
            _keep(a.work / "alone.pickle", lambda: pool.starmap(_alone, banks, chunksize=1))


def _keep(path: Path, make: Callable[[], list[list[Clip]]]) -> None:
    if path.exists():
        print(f"{path} is there")
        return
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as f:
        pickle.dump([clip for clips in make() for clip in clips], f, protocol=5)
    partial.replace(path)


if __name__ == "__main__":
    main()
