"""Our MFCCs against Kaldi's own code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.asr.features import COEFFICIENTS, RATE_HZ, WINDOW, MfccStream, mfcc


def kaldi_mfcc(samples: np.ndarray) -> np.ndarray:
    knf = pytest.importorskip(
        "kaldi_native_fbank", reason="needs the training extra: pip install -e .[training]"
    )
    options = knf.MfccOptions()
    options.frame_opts.samp_freq = RATE_HZ
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = COEFFICIENTS
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -200
    options.num_ceps = COEFFICIENTS
    options.use_energy = False
    computer = knf.OnlineMfcc(options)
    computer.accept_waveform(RATE_HZ, samples.tolist())
    computer.input_finished()
    return np.array([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("length", [WINDOW, 201, 239, 240, 1000, 8000, 8037])
def test_as_kaldi_computes_them(length: int) -> None:
    rng = np.random.default_rng(length)
    samples = (2000 * rng.standard_normal(length)).astype(np.float32)
    samples += 5000 * np.sin(np.arange(length) * 0.3).astype(np.float32)
    ours, theirs = mfcc(samples), kaldi_mfcc(samples)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 0.01


def test_less_than_a_window_has_no_frames() -> None:
    assert mfcc(np.zeros(WINDOW - 1)).shape == (0, COEFFICIENTS)


def test_digital_silence_is_finite() -> None:
    assert np.isfinite(mfcc(np.zeros(2000))).all()


@given(
    length=st.integers(0, 2500),
    blocks=st.lists(st.integers(1, 900), min_size=1, max_size=20),
    seed=st.integers(0, 99),
)
def test_in_blocks_as_at_once(length: int, blocks: list[int], seed: int) -> None:
    samples = (2000 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)
    stream, told, at = MfccStream(), [], 0
    for block in itertools.cycle(blocks):
        told.append(stream.accept(samples[at : at + block], last=at + block >= length))
        at += block
        if at >= length:
            break
    whole = mfcc(samples)
    assert np.concatenate(told).shape == whole.shape
    assert np.allclose(np.concatenate(told), whole, atol=1e-3)
