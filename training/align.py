"""Forced alignment: where every unit of a recording begins and ends.

A network learns far faster from frames whose unit is known than from bare sequences. A monophone
HMM with Gaussian mixtures is trained from a flat start by Viterbi training (Rabiner 1989; Kaldi's
``train_mono.sh``) on 13 MFCCs with first and second differences, normalised by speaker. Tones are
left out: they do not help to find borders. Silence may stand between any two syllables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ivr.asr.features import mfcc
from training.pronunciation import parse

__all__ = ["Aligner", "Job", "Spans", "spans_of"]

#: (units, 2): begin and end of each unit, seconds; what no unit covers is silence.
Spans = npt.NDArray[np.float32]

FRAME_S = 0.01
CEPSTRA = 13
STATES = {"initial": 2, "final": 3}
SILENCE = 0  # number of the silence state
BATCH_FRAMES = 40_000
SPLIT_AT = (3, 5, 7)  # rounds before which every Gaussian is split in two
ROUNDS = 10
LEARN_FROM_S = 3500.0  # of speech; more changes the borders little
_FLOOR = 0.05  # of variances; the features have about unit variance
_NEVER = -1e30


@dataclass(frozen=True, slots=True)
class Job:
    """A recording to align: features normalised by speaker, and its states."""

    features: torch.Tensor  # (frames, 39)
    states: torch.Tensor  # (states,) state numbers, silence before, between and after syllables
    unit: npt.NDArray[np.int64]  # (states,) number of the unit a state belongs to, -1: silence
    units: int


def _differences(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Kaldi's ``add-deltas`` over two frames on either side."""
    p = np.pad(x, ((2, 2), (0, 0)), mode="edge")
    return np.asarray((p[3:-1] - p[1:-3] + 2 * (p[4:] - p[:-4])) / 10, np.float32)


def _features(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    x = mfcc(samples + np.random.default_rng(len(samples)).standard_normal(len(samples)))[
        :, :CEPSTRA
    ]
    first = _differences(x)
    return np.concatenate([x, first, _differences(first)], 1)


class Inventory:
    """Numbers of the HMM states of a language, given out as units turn up."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.first: dict[str, int] = {}
        self.count = 1  # silence

    def _states(self, unit: str, kind: str) -> list[int]:
        if unit not in self.first:
            self.first[unit] = self.count
            self.count += STATES[kind]
        return [self.first[unit] + i for i in range(STATES[kind])]

    def sequence(self, syllables: Sequence[str]) -> tuple[list[int], list[int]]:
        """States of a list of toned syllables and the unit that each belongs to."""
        states, unit, n = [SILENCE], [-1], 0
        for syllable in syllables:
            parsed = parse(syllable, self.language)
            if parsed is None:
                raise ValueError(f"not a toned {self.language} syllable: {syllable!r}")
            for name, kind in ((parsed[0], "initial"), (parsed[1], "final")):
                if name:
                    own = self._states(f"{kind} {name}", kind)
                    states += own
                    unit += [n] * len(own)
                    n += 1
            states.append(SILENCE)
            unit.append(-1)
        return states, unit


class Aligner:
    """One monophone model, trained on the recordings that it aligns.

    Args:
        language: ``cmn`` or ``yue``.
    """

    def __init__(self, language: str) -> None:
        self.inventory = Inventory(language)
        self.weight = self.mean = self.variance = torch.zeros(0)

    def jobs(
        self, recordings: Iterable[tuple[str, npt.NDArray[np.int16], Sequence[str]]]
    ) -> list[Job]:
        """Prepare ``(speaker, samples, toned syllables)`` for :meth:`train` and :meth:`align`."""
        speakers, found, spoken = [], [], []
        for speaker, samples, syllables in recordings:
            speakers.append(speaker)
            found.append(_features(samples))
            spoken.append(syllables)
        by_speaker: dict[str, list[int]] = defaultdict(list)
        for i, speaker in enumerate(speakers):
            by_speaker[speaker].append(i)
        for members in by_speaker.values():
            everything = np.concatenate([found[i] for i in members])
            mean, deviation = everything.mean(0), everything.std(0) + 1e-3
            for i in members:
                found[i] = (found[i] - mean) / deviation
        out = []
        for x, syllables in zip(found, spoken, strict=True):
            states, unit = self.inventory.sequence(syllables)
            features = torch.from_numpy(np.asarray(x, np.float32))
            units = max(unit) + 1
            out.append(Job(features, torch.tensor(states), np.array(unit), units))
        return out

    def train(self, jobs: Sequence[Job], *, rounds: int = ROUNDS, say: bool = False) -> None:
        """Viterbi training from a flat start."""
        usable = [j for j in jobs if len(j.features) >= len(j.states)]
        paths = [_flat(j) for j in usable]
        for number in range(rounds):
            if number:
                paths, score = self._paths(usable)
                if say:
                    print(f"  round {number}: {score:.3f} nats a frame", flush=True)
            if number in SPLIT_AT:
                self._split()
            self._estimate(usable, paths)

    def align(self, jobs: Sequence[Job]) -> list[Spans | None]:
        """Borders of each recording's units; None where it is too short for them."""
        usable = [i for i, j in enumerate(jobs) if len(j.features) >= j.units * 2 + 1]
        out: list[Spans | None] = [None] * len(jobs)
        paths, _ = self._paths([jobs[i] for i in usable])
        for i, path in zip(usable, paths, strict=True):
            out[i] = _spans(jobs[i], path)
        return out

    def _estimate(self, jobs: Sequence[Job], paths: Sequence[torch.Tensor]) -> None:
        """New Gaussians from the frames of each state."""
        x = torch.cat([j.features for j in jobs])
        state = torch.cat([j.states[p] for j, p in zip(jobs, paths, strict=True)])
        if not len(self.mean):
            self.mean = torch.zeros(self.inventory.count, 1, x.shape[1])
            self.variance = torch.ones_like(self.mean)
            self.weight = torch.ones(self.inventory.count, 1)
        gaussians = self.mean.shape[1]
        total = torch.zeros(self.inventory.count * gaussians, x.shape[1])
        squares, occupancy = torch.zeros_like(total), torch.zeros(len(total))
        for at in range(0, len(x), 200_000):
            part, of = x[at : at + 200_000], state[at : at + 200_000]
            share = self._gaussian_scores(part, of).softmax(1)
            for g in range(gaussians):
                index, weight = of * gaussians + g, share[:, g]
                occupancy.index_add_(0, index, weight)
                total.index_add_(0, index, weight[:, None] * part)
                squares.index_add_(0, index, weight[:, None] * part**2)
        enough = (occupancy > 8).reshape(self.inventory.count, gaussians)
        n = occupancy.clamp(min=1)[:, None]
        mean = (total / n).reshape(self.mean.shape)
        variance = (squares / n).reshape(self.mean.shape) - mean**2
        self.mean = torch.where(enough[..., None], mean, self.mean)
        self.variance = torch.where(enough[..., None], variance, self.variance).clamp(min=_FLOOR)
        weight = occupancy.reshape(self.weight.shape) + 1
        self.weight = weight / weight.sum(1, keepdim=True)

    def _gaussian_scores(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """(frames, gaussians): log of weight times density, of each frame's own state."""
        constant = self.weight.log() - 0.5 * self.variance.log().sum(2)
        scores = [
            constant[state, g]
            - 0.5 * ((x - self.mean[state, g]) ** 2 / self.variance[state, g]).sum(1)
            for g in range(self.mean.shape[1])
        ]
        return torch.stack(scores, 1)

    def _all_scores(self, x: torch.Tensor) -> torch.Tensor:
        """(frames, states) log-likelihoods but for a constant, as one matrix product."""
        states, gaussians, _ = self.mean.shape
        precision = 1 / self.variance
        constant = (
            self.weight.log()
            - 0.5 * self.variance.log().sum(2)
            - 0.5 * (self.mean**2 * precision).sum(2)
        )
        linear = (self.mean * precision).reshape(states * gaussians, -1)
        quadratic = (-0.5 * precision).reshape(states * gaussians, -1)
        scores = torch.addmm(constant.reshape(-1), x, linear.T) + x**2 @ quadratic.T
        return scores.reshape(-1, states, gaussians).logsumexp(2)

    def _split(self) -> None:
        """Two Gaussians out of every one, a fifth of a deviation either side."""
        step = 0.2 * self.variance.sqrt()
        self.mean = torch.cat([self.mean - step, self.mean + step], 1)
        self.variance = torch.cat([self.variance, self.variance], 1)
        self.weight = torch.cat([self.weight, self.weight], 1) / 2

    def _paths(self, jobs: Sequence[Job]) -> tuple[list[torch.Tensor], float]:
        """Best state (its place in the sequence) of every frame, and the score a frame."""
        order = sorted(range(len(jobs)), key=lambda i: len(jobs[i].features))
        paths: list[torch.Tensor] = [torch.zeros(0)] * len(jobs)
        score, frames, batch = 0.0, 0, list[int]()
        for k, i in enumerate(order):
            batch.append(i)
            longest = len(jobs[i].features)
            following = len(jobs[order[k + 1]].features) if k + 1 < len(order) else 0
            if k + 1 == len(order) or following * (len(batch) + 1) > BATCH_FRAMES:
                found, total = self._viterbi([jobs[b] for b in batch])
                for b, path in zip(batch, found, strict=True):
                    paths[b] = path
                score, frames = score + total, frames + sum(len(jobs[b].features) for b in batch)
                batch = []
            assert longest
        return paths, score / max(1, frames)

    def _viterbi(self, jobs: Sequence[Job]) -> tuple[list[torch.Tensor], float]:
        frames = torch.tensor([len(j.features) for j in jobs])
        lengths = torch.tensor([len(j.states) for j in jobs])
        b, t, s = len(jobs), int(frames.max()), int(lengths.max())
        states = torch.zeros(b, s, dtype=torch.long)
        for i, j in enumerate(jobs):
            states[i, : len(j.states)] = j.states
        x = torch.nn.utils.rnn.pad_sequence([j.features for j in jobs], batch_first=True)
        all_scores = self._all_scores(x.reshape(b * t, -1)).reshape(b, t, -1)
        emitted = all_scores.gather(2, states[:, None, :].expand(b, t, s)).transpose(0, 1)
        # A state is reached from itself, from the one before, or over the silence before it.
        over = torch.where(torch.roll(states, 1, 1) == SILENCE, 0.0, _NEVER)
        over[:, :2] = _NEVER
        best = torch.full((b, s), _NEVER)
        best[:, 0], best[:, 1] = emitted[0, :, 0], emitted[0, :, 1]
        back = torch.zeros(t, b, s, dtype=torch.int8)
        kept = [best]
        never = torch.full((b, 2), _NEVER)
        for k in range(1, t):
            one = torch.cat([never[:, :1], best[:, :-1]], 1)
            two = torch.cat([never, best[:, :-2]], 1) + over
            came, how = torch.stack([best, one, two]).max(0)
            best = came + emitted[k]
            back[k] = how
            kept.append(best)
        return self._trace(torch.stack(kept), back, frames, lengths)

    @staticmethod
    def _trace(
        kept: torch.Tensor, back: torch.Tensor, frames: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], float]:
        t, b, _ = kept.shape
        rows = torch.arange(b)
        last = kept[frames - 1, rows]  # (batch, states)
        ends = torch.stack([last[rows, lengths - 1], last[rows, lengths - 2]], 1)
        at = lengths - 1 - ends.argmax(1)
        path = torch.zeros(t, b, dtype=torch.long)
        for k in range(t - 1, -1, -1):
            live = k < frames
            path[k] = at
            step = back[k, rows, at].long()
            at = torch.where(live & (k > 0), at - step, at)
        return [path[: frames[i], i] for i in range(b)], float(ends.max(1).values.sum())


def _flat(job: Job) -> torch.Tensor:
    """Units at even lengths between the quiet edges, the first guess of a path."""
    n, loud = len(job.features), job.features[:, 0]
    inside = torch.nonzero(loud > loud.mean() - 0.8 * loud.std())[:, 0]
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, n)
    spoken = torch.nonzero(job.states != SILENCE)[:, 0]
    if last - first < len(spoken):
        first, last = 0, n
    at = torch.arange(last - first) * len(spoken) // max(1, last - first)
    return torch.cat(
        [
            torch.zeros(first, dtype=torch.long),
            spoken[at],
            torch.full((n - last,), len(job.states) - 1),
        ]
    )


def _spans(job: Job, path: torch.Tensor) -> Spans:
    unit = job.unit[path.numpy()]
    out = np.zeros((job.units, 2), np.float32)
    for k in range(job.units):
        at = np.flatnonzero(unit == k)
        out[k] = at[0] * FRAME_S, (at[-1] + 1) * FRAME_S
    return out


def spans_of(
    language: str,
    recordings: Sequence[tuple[str, npt.NDArray[np.int16], Sequence[str]]],
    *,
    say: bool = False,
) -> list[Spans | None]:
    """Borders of the units of all ``(speaker, samples, toned syllables)`` of a language."""
    aligner = Aligner(language)
    jobs = aligner.jobs(recordings)
    order = np.random.default_rng(0).permutation(len(jobs))
    spoken_s = np.cumsum([len(jobs[i].features) * FRAME_S for i in order])
    some = order[: np.searchsorted(spoken_s, LEARN_FROM_S) + 1]
    aligner.train([jobs[i] for i in some], say=say)
    return aligner.align(jobs)
