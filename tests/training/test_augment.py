"""Masks and channels on features."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra: pip install -e .[training]")

from ivr.asr.features import dct
from training import augment


def _features(seed: int, frames: int = 120) -> torch.Tensor:
    mel = np.random.default_rng(seed).standard_normal((3, frames, 40)).astype(np.float32)
    return torch.from_numpy(mel @ dct())


def _mel(x: torch.Tensor) -> np.ndarray:
    return x.numpy() @ np.linalg.inv(dct().astype(np.float64))


def test_a_masked_band_is_constant_and_the_others_are_untouched() -> None:
    x = _features(1)
    before = _mel(x)
    after = _mel(augment.mask_bands(x.clone(), np.random.default_rng(3)))
    constant = after.std(1) < 1e-3
    assert constant.any()
    assert (constant.sum(1) <= augment.WIDEST).all()
    assert np.abs(after - before)[~np.repeat(constant[:, None], 120, 1)].max() < 1e-3


def test_masked_frames_are_the_mean() -> None:
    x = _features(2)
    mean = x.mean(1)
    masked = augment.mask_time(x.clone(), np.random.default_rng(5))
    changed = (masked != x).any(2)
    assert changed.any()
    for row, where, at in zip(masked, changed, mean, strict=True):
        assert torch.allclose(row[where], at.expand(int(where.sum()), -1), atol=1e-4)


def test_more_frames_are_masked_where_more_spans_are_wanted() -> None:
    x = _features(4, frames=500)

    def share(times: float) -> float:
        masked = augment.mask_time(x.clone(), np.random.default_rng(5), times)
        return float((masked != x).any(2).float().mean())

    assert share(1.0) < share(2.5) < share(8.0) < 0.6


def test_a_channel_is_the_same_in_every_frame_and_differs_by_utterance() -> None:
    x = _features(3)
    shift = _mel(augment.channel(x, np.random.default_rng(7)) - x)
    assert np.abs(shift - shift[:, :1]).max() < 1e-3
    assert np.abs(shift[0] - shift[1]).max() > 0.1


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.25])
def test_a_warped_formant_lies_where_the_factor_puts_it(factor: float) -> None:
    at = 20
    moved = np.eye(40, dtype=np.float32)[at] @ augment.moved_bins(factor)
    hz = augment._centres()[:40]
    centre = (moved * hz).sum() / moved.sum()
    width = hz[at + 1] - hz[at]
    assert centre == pytest.approx(hz[at] * factor, abs=width)


def test_a_warp_keeps_the_level_of_a_flat_spectrum_and_differs_by_utterance() -> None:
    flat = torch.from_numpy(np.full((2, 30, 40), 3.0, np.float32) @ dct())
    assert np.abs(_mel(augment.warp(flat, np.random.default_rng(1), 0.12)) - 3).max() < 1e-2
    x = _features(4)
    x[1] = x[0]
    warped = augment.warp(x, np.random.default_rng(2), 0.12)
    assert (warped[0] - warped[1]).abs().max() > 0.1


def test_a_transposed_voice_is_the_same_a_little_further_up_or_down() -> None:
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 5, 72)).astype(np.float32))
    moved = augment.transposed(x, np.random.default_rng(2))
    by = []
    for row, new in zip(x, moved, strict=True):
        match = [
            k
            for k in range(-augment.HIGHER, augment.HIGHER + 1)
            if torch.equal(new[:, 10 + k : 62 + k], row[:, 10:62])
        ]
        assert len(match) == 1
        by += match
        assert new.count_nonzero() == 5 * (72 - abs(match[0]))
    assert min(by) < -4
    assert max(by) > 4


def test_bands_are_masked_in_the_envelope_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("channel", "warp", "transposed"):
        monkeypatch.setattr(augment, name, lambda x, *_: x)
    x = torch.cat([_features(1), torch.randn(3, 120, 72)], 2)
    before = x.clone()
    found = augment.disturbed(x, np.random.default_rng(3), warp_by=0.1, masked=0.0)
    assert torch.equal(x, before)
    assert torch.equal(found[..., 40:], x[..., 40:])
    constant = _mel(found[..., :40]).std(1) < 1e-3
    assert constant.any()
    assert not constant.all()
    masked = augment.disturbed(x, np.random.default_rng(3), warp_by=0.1, masked=4.0)
    gone = (masked[..., 40:] != x[..., 40:]).all(2)
    assert 0 < gone.float().mean() < 0.7


def test_without_periodicity_features_stay_forty() -> None:
    x = _features(1)
    found = augment.disturbed(x, np.random.default_rng(3), warp_by=0.1, masked=1.0)
    assert found.shape == x.shape
    assert not torch.allclose(found, x)
