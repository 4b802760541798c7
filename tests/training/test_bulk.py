"""Packs, and the batches that are made of them where a GPU learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from small_packs import LABELS, write_packs

from ivr.asr.features import mfcc
from training import bulk, network
from training.factory import SHARES
from training.pack import KINDS, shares

LANGUAGES = ("cmn", "yue")


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packs(tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def made(packs: Path) -> bulk.Bulk:
    common = torch.load(packs / "common.pt", weights_only=False)
    return bulk.Bulk(sorted(packs.glob("*/clips.npz")), common, torch.device("cpu"))


def test_no_pack_is_larger_than_asked_for(packs: Path) -> None:
    folders = [p.parent for p in packs.glob("*/clips.npz")]
    assert len(folders) > 1
    for folder in folders:
        assert sum(p.stat().st_size for p in folder.glob("*.opus")) <= 80_000


def test_every_clip_comes_back_with_its_labels(made: bulk.Bulk) -> None:
    count = np.bincount(made.kind)
    # Kinds in the order of training.pack.KINDS, both languages.
    assert count.tolist() == [12, 40, 40, 4, 6, 4]
    people = np.flatnonzero(made.kind == 0)
    assert sorted(made.units[people]) == sorted(2 * n for n in range(2, 8) for _ in LANGUAGES)
    for clip in people:
        label = made.label[clip, : made.units[clip]].tolist()
        assert label == [2, 1] * (made.units[clip] // 2)
        span = made.span[clip, : made.units[clip]]
        assert span[1].tolist() == pytest.approx([0.1, 0.3])
        begin = int(made.begin[clip])
        audio = made.audio[begin : begin + made.samples[clip]].float().numpy()
        spectrum = np.abs(np.fft.rfft(audio))  # Opus loses nothing that matters
        peak = np.fft.rfftfreq(len(audio), 1 / 8000)[spectrum.argmax()]
        assert peak == pytest.approx(1200, abs=40)


def test_a_stream_that_is_cut_off_is_refused(packs: Path, tmp_path: Path) -> None:
    table = next(packs.glob("*/clips.npz"))
    (tmp_path / "00").mkdir()
    rows = dict(np.load(table))
    rows["samples"] = rows["samples"] * 2
    np.savez(tmp_path / "00" / "clips.npz", **rows)
    for audio in table.parent.glob("*.opus"):
        (tmp_path / "00" / audio.name).write_bytes(audio.read_bytes())
    common = torch.load(packs / "common.pt", weights_only=False)
    with pytest.raises(ValueError, match="cut off"):
        bulk.Bulk([tmp_path / "00" / "clips.npz"], common, torch.device("cpu"))


def test_kinds_are_drawn_in_their_shares(made: bulk.Bulk) -> None:
    rng = np.random.default_rng(1)
    for language in LANGUAGES:
        assert sum(shares(language).values()) == pytest.approx(sum(SHARES[language]))
        assert tuple(shares(language)) == KINDS
        drawn = np.concatenate([p.clips for p in made.plans(language, rng, 10**6, 6000)])
        found = np.bincount(made.kind[drawn], minlength=6) / len(drawn)
        assert found == pytest.approx(list(shares(language).values()), abs=0.03)
        assert set(made.language[drawn]) == {LANGUAGES.index(language)}


def test_a_batch_is_no_longer_than_asked_for(made: bulk.Bulk) -> None:
    for plan in made.plans("cmn", np.random.default_rng(2), 3000, 200):
        seconds = plan.seconds(made.samples)
        assert len(seconds) == 1 or len(seconds) * seconds.max() * 100 <= 3000


def test_every_frame_has_the_label_that_lies_there(made: bulk.Bulk) -> None:
    clip = int(np.flatnonzero((made.kind == 0) & (made.language == 0) & (made.units == 4))[0])
    plan = bulk.Plan("cmn", np.array([clip]), np.array([0.5]), np.array([0.3]), np.array([0.6]))
    spoken = made.spoken(plan)
    assert int(spoken.lengths[0]) == round((0.3 + 1.2 + 0.6) * 8000)
    # Half as fast: 0.2 s of the initial, 0.4 s of the final, twice.
    target = spoken.batch.target[0].tolist()
    at = {round(k * bulk.FRAME_S, 2): label for k, label in enumerate(target)}
    assert [at[t] for t in (0.0, 0.15, 0.36, 0.6, 0.96, 1.2, 1.56, 2.04)] == [
        0,
        0,
        2,
        1,
        2,
        1,
        0,
        0,
    ]
    assert spoken.batch.labels.tolist() == [2, 1, 2, 1]
    silent = spoken.samples[0, : round(0.28 * 8000)]
    assert silent.abs().max() == 0
    assert spoken.samples[0, 4000:8000].std() > 500


@pytest.mark.parametrize("hard", [0.0, 1.0])
def test_a_line_keeps_what_is_said_and_where(made: bulk.Bulk, hard: float) -> None:
    torch.manual_seed(3)
    plans = made.plans("yue", np.random.default_rng(3), 4000, 60)
    for plan in plans:
        spoken = made.spoken(plan)
        found = bulk.disturbed(spoken, made, hard=hard)
        assert found.shape == spoken.samples.shape
        assert torch.isfinite(found).all()
        assert found.abs().max() <= 32768
        beyond = torch.arange(found.shape[1])[None, :] >= spoken.lengths[:, None]
        assert (found[beyond] == 0).all()
    if not hard:  # what is said stands out of the noise
        loud = spoken.samples.abs() > 1000
        assert found[loud].square().mean() > 10 * found[~loud & ~beyond].square().mean()


def test_features_are_those_of_training() -> None:
    rng = np.random.default_rng(4)
    short, long = (1000 * rng.standard_normal(n).astype(np.float32) for n in (9037, 16_000))
    both = torch.zeros(2, len(long))
    both[0, : len(short)], both[1] = torch.from_numpy(short), torch.from_numpy(long)
    lengths = torch.tensor([len(short), len(long)])
    mel = bulk.log_mel(both)
    frames = (lengths + 40) // 80
    found = bulk.to_features(mel, frames).numpy()[:, network.LEFT_CONTEXT :]
    for row, samples in zip(found, (short, long), strict=True):
        expected = mfcc(samples)
        ends = 3 if samples is short else 0  # the shorter one is followed by silence
        inside = len(expected) - ends
        assert row[:inside] == pytest.approx(expected[:inside], abs=1e-3)


def test_what_is_masked_is_so_in_time_and_frequency() -> None:
    torch.manual_seed(5)
    mel = torch.randn(40, 300, 40)
    frames = torch.full((40,), 300)
    varied = bulk.varied(mel, frames, 0.0)
    flat = (varied.std(1) < 1e-4).sum(1)  # bins that are the same throughout
    assert 0.2 < (flat > 0).float().mean() < 0.8
    assert flat.max() <= 9
    plain = bulk.to_features(mel, frames)
    masked = bulk.to_features(mel, frames, masked=2.0)
    hidden = (plain != masked).any(2)[:, network.LEFT_CONTEXT : network.LEFT_CONTEXT + 300]
    assert 0.02 < hidden.float().mean() < 0.3


def test_no_length_is_refused() -> None:
    for samples in (1, 16_384, 16_385, round(bulk.LONGEST_S * 8000) + bulk.ROOM):
        assert bulk._smooth(samples) >= samples
    x = torch.randn(5, 1000)
    back = bulk._signal(bulk._spectrum(x, 16_384), 16_384)
    assert torch.allclose(back[:, :1000], x, atol=1e-5)
    assert LABELS["cmn"][0] == "<blk>"
