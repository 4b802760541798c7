"""The speech factory where a GPU learns: whole batches at once, from packs (:mod:`training.pack`).

What :mod:`training.line` and :mod:`training.augment` do to one utterance on a processor is done here
to a batch of hundreds, in the same shares, some ten thousand times as fast as it is spoken. Filters
work on the spectrum of the whole utterance, so they have no phase; a GSM codec is missing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch.nn import functional

from ivr.asr.features import COEFFICIENTS, HOP, RATE_HZ, WINDOW, dct, linear
from training import augment, network
from training.batch import Batch
from training.pronunciation import LANGUAGES

__all__ = ["Bulk", "Plan", "Spoken", "disturbed", "log_mel", "to_features"]

FRAME_S = 0.01 * network.STRIDE
LONGEST_S = 18.0
POOL = 2400
SPARE = 400  # samples that a codec may lose at the end
ROOM = 3600  # samples of the longest reverberation
#: of Fourier transforms, in samples
SIZES = tuple(int(16384 * k) for k in (1, 1.5, 2, 3, 4, 6, 8, 10))
ROWS = 32
WARPS = 65  # factors of vocal tracts' length that are told apart


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch to be made: which clips, how fast, and how much silence stands around each."""

    language: str
    clips: np.ndarray  # (batch,) int
    factors: np.ndarray  # (batch,) how fast
    before_s: np.ndarray
    after_s: np.ndarray

    def seconds(self, samples: np.ndarray) -> np.ndarray:
        """(batch,) how long each will be, of the clips' lengths in samples."""
        return self.before_s + self.after_s + samples[self.clips] / self.factors / RATE_HZ

    def at(self, rows: np.ndarray) -> Plan:
        """Some of it."""
        parts = (self.clips, self.factors, self.before_s, self.after_s)
        return Plan(self.language, *(x[rows] for x in parts))


@dataclass(frozen=True, slots=True)
class Spoken:
    """A batch as it leaves the mouths, and what is said in it."""

    samples: torch.Tensor  # (batch, samples) range of int16
    lengths: torch.Tensor  # (batch,) samples
    speech: torch.Tensor  # (batch,) of them between the silences
    frames: torch.Tensor  # (batch,) of 10 ms
    batch: Batch  # its features are empty: they depend on the line


def _decoded(path: Path) -> np.ndarray:
    samples: np.ndarray = sf.read(path, dtype="int16")[0]
    return samples


def _read(tables: Sequence[Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns of all packs, ``begin`` in the audio among them; and the audio, decoded."""
    packs = [dict(np.load(table)) for table in tables]
    files = [
        table.parent / f"{k:03d}.opus"
        for table, pack in zip(tables, packs, strict=True)
        for k in range(int(pack["stream"].max()) + 1)
    ]
    with ThreadPoolExecutor() as pool:  # libsndfile works outside the interpreter
        audio = list(pool.map(_decoded, files))
    per_stream = [
        pack["samples"][pack["stream"] == k].astype(np.int64)
        for pack in packs
        for k in range(int(pack["stream"].max()) + 1)
    ]
    base, begins = 0, []
    for file, heard, lengths in zip(files, audio, per_stream, strict=True):
        if lengths.sum() > len(heard) + SPARE:
            raise ValueError(f"{file}: {len(heard)} samples for {lengths.sum()}, cut off")
        begins.append(base + np.cumsum(lengths) - lengths)
        base += len(heard)
    table = {k: np.concatenate([pack[k] for pack in packs]) for k in packs[0]}
    table["begin"] = np.concatenate(begins)
    return table, np.concatenate([*audio, np.zeros(SPARE, np.int16)])


class Bulk:
    """All clips of some packs in a device's memory."""

    def __init__(
        self, tables: Sequence[Path], common: dict[str, Any], device: torch.device
    ) -> None:
        """``tables``: ``clips.npz`` of each pack, beside the audio.

        Raises:
            ValueError: a stream of audio is shorter than its clips.
        """
        table, audio = _read(tables)
        self.device = device
        self.audio = torch.from_numpy(audio).to(device)
        self.begin = torch.from_numpy(table["begin"]).to(device)
        self.samples, self.units = table["samples"], table["units"].astype(np.int64)
        self.language, self.kind, self.weight = table["language"], table["kind"], table["weight"]
        most = int(self.units.max())
        place = np.arange(most)[None, :] < self.units[:, None]
        label = np.zeros(place.shape, np.int64)
        span = np.full((*place.shape, 2), 1e4, np.float32)
        label[place], span[place] = table["said"], table["spans_ms"] / 1000
        self.label, self.span = (
            torch.from_numpy(label).to(device),
            torch.from_numpy(span).to(device),
        )
        people = (table["begin"] + self.samples)[self.kind == 0]
        self.people = int(people.max()) if len(people) else len(audio)
        self.chance = {k: self._chances(i, common["shares"][k]) for i, k in enumerate(LANGUAGES)}

    def _chances(self, language: int, shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        mine = np.flatnonzero(self.language == language)
        weight = self.weight[mine].astype(np.float64)
        for kind, share in enumerate(shares):
            of = self.kind[mine] == kind
            weight[of] *= share / max(weight[of].sum(), 1e-9)
        return mine, np.cumsum(weight / weight.sum())

    def plans(
        self, language: str, rng: np.random.Generator, most_frames: int, pool: int = POOL
    ) -> list[Plan]:
        """Batches of one draw, each of utterances of about the same length, in random order.

        ``most_frames``: of 10 ms in a batch.
        """
        clips, up_to = self.chance[language]
        drawn = clips[np.searchsorted(up_to, rng.random(pool) * up_to[-1], side="right")]
        synthetic = self.kind[drawn] >= 2
        spread = np.where(synthetic, 0.15, 0.2)
        factors = np.exp(rng.uniform(-1, 1, pool) * spread * (rng.random(pool) < 0.8))
        longest = np.where(rng.random((2, pool)) < 0.15, 1.6, 0.5)
        before, after = rng.uniform(0.03, longest)
        plan = Plan(language, drawn, factors, before, after)
        seconds = plan.seconds(self.samples)
        fits = (seconds < LONGEST_S) & (seconds > 0.4)
        fits &= seconds / FRAME_S > 1.15 * self.units[drawn] + 3
        order = np.flatnonzero(fits)[np.argsort(seconds[fits])]
        out, first = [], 0
        for k in range(1, len(order) + 1):
            if k == len(order) or (k + 1 - first) * seconds[order[k]] * 100 > most_frames:
                out.append(plan.at(order[first:k]))
                first = k
        return [out[i] for i in rng.permutation(len(out))]

    def spoken(self, plan: Plan) -> Spoken:
        """The samples of a plan and its labels, both on the device."""
        device = self.device
        seconds = plan.seconds(self.samples)
        lengths = np.rint(seconds * RATE_HZ).astype(np.int64)
        clips = torch.from_numpy(plan.clips).to(device)
        factor = torch.from_numpy(plan.factors.astype(np.float32)).to(device)[:, None]
        before = torch.from_numpy(plan.before_s.astype(np.float32)).to(device)[:, None]
        size = torch.from_numpy(self.samples[plan.clips].astype(np.int64)).to(device)[:, None]
        at = (torch.arange(int(lengths.max()), device=device)[None, :] - before * RATE_HZ) * factor
        inside = (at >= 0) & (at < size - 1)
        at = at.clamp(min=0).minimum(size - 2)
        low = at.long()
        where = self.begin[clips][:, None] + low
        part = at - low
        x = self.audio[where].float() * (1 - part) + self.audio[where + 1].float() * part
        x = torch.where(inside, x, 0.0)
        n = torch.from_numpy(lengths).to(device)
        frames = (n + HOP // 2) // HOP
        said = self._said(plan, clips, factor, before, frames)
        return Spoken(x, n, size[:, 0] / factor[:, 0], frames, said)

    def _said(
        self,
        plan: Plan,
        clips: torch.Tensor,
        factor: torch.Tensor,
        before: torch.Tensor,
        features: torch.Tensor,
    ) -> Batch:
        units = self.units[plan.clips]
        most = max(1, int(units.max()))
        label, span = self.label[clips, :most], self.span[clips, :most]
        span = span / factor[..., None] + before[..., None]
        frames = (features + network.STRIDE - 1) // network.STRIDE
        longest = (int(np.rint(plan.seconds(self.samples).max() * RATE_HZ)) + HOP // 2) // HOP
        t = torch.arange(-(-longest // network.STRIDE), device=label.device)
        middle = (t.float() * FRAME_S).expand(len(label), -1).contiguous()
        begin, end = (
            ((span[..., k] / FRAME_S).round() * FRAME_S - FRAME_S / 2).contiguous() for k in (0, 1)
        )
        last = torch.searchsorted(begin, middle, right=True) - 1
        known = last.clamp(min=0)
        within = (last >= 0) & (middle < end.gather(1, known))
        target = torch.where(within, label.gather(1, known), 0)
        target = torch.where(t[None, :] < frames[:, None], target, -1)
        rows = np.repeat(np.arange(len(units)), units)
        columns = np.concatenate([np.arange(n) for n in units])
        flat = label.flatten()[torch.from_numpy(rows * most + columns).to(label.device)]
        nothing = span.new_zeros(0)
        return Batch(plan.language, nothing, frames, flat, torch.from_numpy(units), target)

    def babble(self, rows: int, samples: int) -> torch.Tensor:
        """(rows, samples) of one to four people at once."""
        start = torch.randint(max(1, self.people - samples), (4, rows, 1), device=self.device)
        talk = self.audio[start + torch.arange(samples, device=self.device)].float()
        some = torch.randint(1, 5, (rows, 1), device=self.device)
        return sum((talk[k] * (some > k) for k in range(1, 4)), start=talk[0])


def _uniform(low: float, high: float, rows: int, device: torch.device) -> torch.Tensor:
    return torch.empty(rows, 1, device=device).uniform_(low, high)


def _some(share: float, rows: int, device: torch.device) -> torch.Tensor:
    return torch.rand(rows, 1, device=device) < share


def _hz(size: int, device: torch.device) -> torch.Tensor:
    return torch.fft.rfftfreq(size, 1 / RATE_HZ, device=device)


def _smooth(samples: int) -> int:
    """The next of a few lengths with small factors only: each takes long to plan, once."""
    return next(n for n in SIZES if n >= samples)


def _spectrum(x: torch.Tensor, size: int) -> torch.Tensor:
    """(rows, frequencies); always so many rows at once, since another number is another plan."""
    rows = len(x)
    x = functional.pad(x, (0, size - x.shape[1], 0, -rows % ROWS))
    return torch.cat([torch.fft.rfft(part) for part in x.split(ROWS)])[:rows]


def _signal(spectrum: torch.Tensor, size: int) -> torch.Tensor:
    """(rows, size), back from :func:`_spectrum`."""
    rows = len(spectrum)
    x = functional.pad(spectrum, (0, 0, 0, -rows % ROWS))
    return torch.cat([torch.fft.irfft(part, size) for part in x.split(ROWS)])[:rows]


def disturbed(
    spoken: Spoken, bulk: Bulk, *, hard: float = 1.0, noisy: float = 0.5, white: float = 0.18
) -> torch.Tensor:
    """(batch, samples) as it arrives: handset, room, noise, band, level, losses, codec.

    As :func:`training.line.transmit`, whose shares these are.

    Args:
        spoken: a batch.
        bulk: where voices in the background come from.
        hard: from 0 to 1, how often and how strongly the line disturbs.
        noisy: share of the lines with noise of 3 to 25 dB.
        white: share of the noises that are white.
    """
    rows, samples = spoken.samples.shape
    size = _smooth(samples + ROOM)
    y = _signal(
        _spectrum(spoken.samples, size) * _mouth_to_line(rows, size, hard, bulk.device), size
    )
    level = (y.square().sum(1) / spoken.speech.clamp(min=1)).sqrt()[:, None] + 1e-6
    noise = _noise(rows, samples, size, hard, white, bulk)
    loud = _some(noisy * hard, rows, bulk.device)
    snr_db = torch.where(loud, *(_uniform(a, b, rows, bulk.device) for a, b in ((3, 25), (25, 55))))
    y = y[:, :samples] + noise * level * 10 ** (-snr_db / 20)
    y = _signal(_spectrum(y, size) * _band(rows, size, bulk.device), size)[:, :samples]
    y = _coded(_lost(_levelled(y, hard), spoken.lengths, hard))
    return y * (torch.arange(samples, device=bulk.device) < spoken.lengths[:, None])


def _mouth_to_line(rows: int, size: int, hard: float, device: torch.device) -> torch.Tensor:
    """(rows, frequencies) response of a handset, and now and then of a room."""
    turn = torch.exp(-2j * math.pi * _hz(size, device) / RATE_HZ)
    handset = _some(0.7, rows, device)
    zero, pole = (_uniform(-0.7, 0.5, rows, device), _uniform(-0.4, 0.4, rows, device))
    response = (1 + zero * handset * turn) / (1 + pole * handset * turn)
    if not hard:
        return response
    n = _uniform(0.08, 0.45, rows, device) * RATE_HZ
    at = torch.arange(ROOM, device=device)[None, :]
    tail = torch.randn(rows, ROOM, device=device) * torch.exp(-6.9 * at / n)
    tail *= _uniform(0.02, 0.15, rows, device) * (at < n) * _some(0.3 * hard, rows, device)
    tail[:, 0] = 1.0
    return response * _spectrum(tail, size)


def _noise(
    rows: int, samples: int, size: int, hard: float, white: float, bulk: Bulk
) -> torch.Tensor:
    """(rows, samples) of unit deviation: white, coloured, hum or voices."""
    device = bulk.device
    turn = torch.exp(-2j * math.pi * _hz(size, device) / RATE_HZ)
    colour = _uniform(0.5, 0.97, rows, device) * _some(1 - white / 0.6, rows, device)
    noise = torch.randn(rows, samples, device=device)
    noise = _signal(_spectrum(noise, size) / (1 - colour * turn), size)[:, :samples]
    hum = torch.randint(1, 4, (rows, 1), device=device) * _some(0.2, rows, device)
    t = torch.arange(samples, device=device)[None, :] / RATE_HZ
    noise = noise + torch.sin(2 * math.pi * 50 * t * hum)
    if hard:
        noise = torch.where(_some(0.4, rows, device), bulk.babble(rows, samples), noise)
    return noise / (noise.std(1, keepdim=True) + 1e-6)


def _levelled(x: torch.Tensor, hard: float) -> torch.Tensor:
    """At some level, now and then too high for 16 bits, with the line's own hiss."""
    rows, device = len(x), x.device
    x = x / (x.abs().amax(1, keepdim=True) + 1e-6) * 10 ** _uniform(3.0, 4.5, rows, device)
    over = 1 + _uniform(0, 2, rows, device) * _some(0.05 * hard, rows, device)
    hiss = 32768 * 10 ** (-_uniform(50, 80, rows, device) / 20) * _some(0.7, rows, device)
    return (x * over).clamp(-32767, 32767) + torch.randn_like(x) * hiss


def _lost(x: torch.Tensor, lengths: torch.Tensor, hard: float) -> torch.Tensor:
    """One to three packets of 20 ms are missing, now and then."""
    rows, device = len(x), x.device
    lost = _some(0.1 * hard, rows, device)
    for k in range(3):
        start = torch.rand(rows, 1, device=device) * lengths[:, None]
        since = torch.arange(x.shape[1], device=device)[None, :] - start
        x = x.masked_fill((since >= 0) & (since < 160) & lost & _some(1 - k / 3, rows, device), 0.0)
    return x


def _band(rows: int, size: int, device: torch.device) -> torch.Tensor:
    """(rows, frequencies) gains of Butterworth band-passes as :func:`training.line.band` has them."""
    order = torch.randint(1, 5, (rows, 1), device=device)

    def warped(f: torch.Tensor) -> torch.Tensor:  # by the bilinear transform
        return torch.tan(math.pi * f.clamp(max=RATE_HZ / 2 - 1) / RATE_HZ)

    low, high = (warped(_uniform(a, b, rows, device)) for a, b in ((100, 400), (3000, 3800)))
    w = warped(_hz(size, device))[None, :].clamp(min=1e-4)
    away = (w.square() - low * high) / (w * (high - low))
    gain = torch.rsqrt(1 + away.abs().clamp(max=1e4) ** (2 * order))
    return torch.where(_some(0.65, rows, device), gain, 1.0)


def _coded(x: torch.Tensor) -> torch.Tensor:
    """Through G.711 of either law (by its continuous formula), or 16 bits."""
    device, rows = x.device, len(x)
    y = x.clamp(-32767, 32767) / 32768
    size = y.abs()
    mu = torch.log1p(255 * size) / math.log(256)
    mu = (256 ** (torch.round(mu * 127) / 127) - 1) / 255
    a, log = 87.6, 1 + math.log(87.6)
    al = torch.where(size < 1 / a, a * size / log, (1 + torch.log(a * size.clamp(min=1 / a))) / log)
    al = torch.round(al * 127) / 127
    al = torch.where(al < 1 / log, al * log / a, torch.exp(al * log - 1) / a)
    which = torch.rand(rows, 1, device=device)
    coded = torch.where(which < 0.37, mu, al) * torch.sign(y) * 32768
    return torch.where(which < 0.65, coded, x.clamp(-32767, 32767).round())


@functools.lru_cache(4)
def _matrices(device: torch.device) -> tuple[torch.Tensor, ...]:
    first, second = linear()
    return tuple(
        torch.from_numpy(np.ascontiguousarray(m)).to(device) for m in (first, second, dct())
    )


def log_mel(samples: torch.Tensor) -> torch.Tensor:
    """(batch, frames, 40) log mel energies, before the cosine transform of the MFCCs.

    As :func:`ivr.asr.features.mfcc`, but for the frames at the end of the shorter ones.
    """
    first, second, _ = _matrices(samples.device)
    frames = (samples.shape[1] + HOP // 2) // HOP
    start = WINDOW // 2 - HOP // 2
    left = samples[:, :start].flip(1)
    spare = max(0, (frames - 1) * HOP + WINDOW - start - samples.shape[1])
    right = samples[:, samples.shape[1] - spare :].flip(1)
    windows = torch.cat([left, samples, right], 1).unfold(1, WINDOW, HOP)[:, :frames]
    energy = (windows @ first).square() @ second
    return energy.clamp(min=float(np.finfo(np.float32).eps)).log()


def _mean(x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(batch, 1, 40) over an utterance's frames."""
    return (x * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp(min=1)


@functools.lru_cache(8)
def _warps(deviation: float, device: torch.device) -> torch.Tensor:
    factors = np.exp(np.linspace(-2, 2, WARPS) * deviation)
    return torch.from_numpy(np.stack([augment.moved_bins(float(f)) for f in factors])).to(device)


def varied(mel: torch.Tensor, frames: torch.Tensor, warp: float) -> torch.Tensor:
    """Other vocal tracts, channels, and masked bands, as :mod:`training.augment` has them."""
    device, rows = mel.device, len(mel)
    if warp:
        at = (torch.randn(rows, device=device).clamp(-2, 2) + 2) / 4 * (WARPS - 1)
        mel = mel @ _warps(warp, device)[at.round().long()]
    knots = torch.randn(rows, 1, 5, device=device) * augment.COLOUR
    mel = mel + functional.interpolate(knots, COEFFICIENTS, mode="linear", align_corners=True)
    inside = (torch.arange(mel.shape[1], device=device) < frames[:, None])[..., None]
    width = torch.randint(1, augment.WIDEST + 1, (rows, 1), device=device)
    first = torch.rand(rows, 1, device=device) * (COEFFICIENTS - width + 1)
    bins = torch.arange(COEFFICIENTS, device=device)[None, :]
    masked = (bins >= first.long()) & (bins < first.long() + width)
    masked &= _some(augment.BANDS, rows, device)
    return torch.where(masked[:, None, :], _mean(mel, inside), mel)


def to_features(mel: torch.Tensor, frames: torch.Tensor, *, masked: float = 0.0) -> torch.Tensor:
    """(batch, frames + context, 40) MFCCs with the edges that a network wants.

    Args:
        mel: (batch, frames, 40) log energies.
        frames: (batch,) how many are an utterance's.
        masked: spans of time masked, in shares of what :func:`training.augment.mask_time` masks.
    """
    device, rows = mel.device, len(mel)
    x = mel @ _matrices(device)[2]
    if masked:
        t = torch.arange(x.shape[1], device=device)[None, :]
        hidden = torch.zeros(rows, x.shape[1], dtype=torch.bool, device=device)
        spans = masked * (frames[:, None] / 250 + 1)
        for k in range(int(masked * (x.shape[1] / 250 + 1))):
            n = torch.randint(0, augment.LONGEST, (rows, 1), device=device)
            start = torch.rand(rows, 1, device=device) * (frames[:, None] - n).clamp(min=1)
            hidden |= (t >= start.long()) & (t < start.long() + n) & (k + 1 <= spans)
        inside = (t < frames[:, None])[..., None]
        x = torch.where(hidden[..., None], _mean(x, inside), x)
    at = torch.arange(-network.LEFT_CONTEXT, x.shape[1] + network.RIGHT_CONTEXT, device=device)
    at = at[None, :].clamp(min=0).minimum(frames[:, None] - 1)
    return x.gather(1, at[..., None].expand(-1, -1, COEFFICIENTS))


def endless(
    bulk: Bulk, pools: dict[str, int], rng: np.random.Generator, most_frames: int
) -> Iterator[Plan]:
    """Plans without end, languages in random order, each in its share of the utterances."""
    while True:
        known = [k for k in pools if len(bulk.chance[k][0])]
        plans = [p for k in known for p in bulk.plans(k, rng, most_frames, pools[k])]
        for i in rng.permutation(len(plans)):
            yield plans[i]
