"""Reconstruction losses against auraloss and torchaudio, and what splitting a batch needs."""

from __future__ import annotations

import math

import pytest
import torch
from auraloss.freq import MultiResolutionSTFTLoss, SumAndDifferenceSTFTLoss
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from codec.metrics.mel import MEL_WINDOWS, mel_distance, mel_filters
from codec.training.config import LossConfig
from codec.training.losses import MelDistance, ReconstructionLoss, low_band_distance
from codec.training.magnitudes import magnitudes, powers

SAMPLE_RATE = 16_000
WINDOWS = (512, 128)
CONFIG = LossConfig(stft_windows=WINDOWS, mel_windows=WINDOWS)
AURALOSS = {
    "fft_sizes": list(WINDOWS),
    "hop_sizes": [w // 4 for w in WINDOWS],
    "win_lengths": list(WINDOWS),
    "perceptual_weighting": True,
    "sample_rate": SAMPLE_RATE,
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def reconstruction() -> ReconstructionLoss:
    return ReconstructionLoss(CONFIG, SAMPLE_RATE)


def test_stereo_stft_equals_auraloss(reconstruction: ReconstructionLoss) -> None:
    """auraloss takes L + R and L - R, here they are halved: equal on half of the signal."""
    target = 0.3 * noise(1, 2, 4096)
    estimate = 0.8 * target + 0.1 * noise(1, 2, 4096, seed=1)
    auraloss = SumAndDifferenceSTFTLoss(**AURALOSS)
    ours = reconstruction(estimate, target).stft

    torch.testing.assert_close(ours, auraloss(estimate / 2, target / 2), rtol=1e-5, atol=0)
    # Both of its terms are ratios, so the factor matters only in bins near its floor of 1e-4,
    # for noise at this level (magnitudes about 1) less than one bin in a thousand.
    torch.testing.assert_close(ours, auraloss(estimate, target), rtol=1e-3, atol=0)


def test_mono_stft_equals_auraloss(reconstruction: ReconstructionLoss) -> None:
    target = 0.3 * noise(1, 1, 4096)
    estimate = 0.8 * target + 0.1 * noise(1, 1, 4096, seed=1)
    expected = MultiResolutionSTFTLoss(**AURALOSS)(estimate, target)
    torch.testing.assert_close(reconstruction(estimate, target).stft, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("channels", [1, 2])
def test_batch_is_the_mean_of_its_items(channels: int, reconstruction: ReconstructionLoss) -> None:
    """Loud and quiet items with different errors, so that pooled norms would show."""
    target = noise(2, channels, 4096) * torch.tensor([0.5, 0.005])[:, None, None]
    estimate = target * torch.tensor([0.9, 0.2])[:, None, None]
    estimate = estimate + 0.002 * noise(2, channels, 4096, seed=1)
    together = vars(reconstruction(estimate, target))
    alone = [vars(reconstruction(estimate[i : i + 1], target[i : i + 1])) for i in range(2)]
    for term, value in together.items():
        torch.testing.assert_close(value, (alone[0][term] + alone[1][term]) / 2, msg=term)


@pytest.mark.parametrize("estimated_level", [0.0, 0.1])
@pytest.mark.parametrize("silent_rows", ["all", "side"])
def test_silence_gives_finite_losses_and_gradients(
    silent_rows: str, estimated_level: float, reconstruction: ReconstructionLoss
) -> None:
    mono = torch.zeros(2, 1, 4096) if silent_rows == "all" else 0.1 * noise(2, 1, 4096)
    estimate = (estimated_level * noise(2, 2, 4096)).requires_grad_()
    terms = reconstruction(estimate, mono.expand(2, 2, 4096))
    terms.total(CONFIG).backward()

    assert all(torch.isfinite(value) for value in vars(terms).values())
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()


def test_perfect_estimate_costs_nothing(reconstruction: ReconstructionLoss) -> None:
    target = 0.1 * noise(2, 1, 4096)
    assert reconstruction(target, target).total(CONFIG) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize(("window", "bands"), [(2048, 320), (512, 80), (32, 5)])
@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_mel_filters_equal_torchaudio(window: int, bands: int, sample_rate: int) -> None:
    expected = melscale_fbanks(
        window // 2 + 1, 0.0, sample_rate / 2, bands, sample_rate, "slaney", "slaney"
    )
    ours = mel_filters(sample_rate, window, bands, torch.device("cpu"))
    # torchaudio computes in float32, where the edges of the steepest triangles lose digits.
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


def test_mel_distance() -> None:
    """Zero for equal rows, one per window for a factor of 10, and rows apart."""
    target = noise(2, 8192)
    estimate = target * torch.tensor([[1.0], [10.0]])
    distance = mel_distance(estimate, target, SAMPLE_RATE)
    assert distance[0] == 0.0
    # A little less than 7: empty filters of the short windows stay at the floor.
    every_window = mel_distance(estimate, target, SAMPLE_RATE, (2048,), (80,))
    assert every_window.tolist() == pytest.approx([0.0, 1.0], rel=1e-3)
    assert 5.0 < float(distance[1]) <= len(MEL_WINDOWS)


def test_mel_distance_of_training_is_that_of_evaluation() -> None:
    """In value and in gradient; the filters are torchaudio's there and our own here."""
    windows, bands = (2048, 512, 32), (320, 80, 5)
    target = 0.1 * noise(2, 8192)
    estimates = [(0.1 * noise(2, 8192, seed=1)).requires_grad_() for _ in range(2)]
    values = (
        MelDistance(SAMPLE_RATE, windows)(estimates[0], target),
        mel_distance(estimates[1], target, SAMPLE_RATE, windows, bands),
    )
    for value in values:
        value.sum().backward()
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=0)
    one, other = (estimate.grad for estimate in estimates)
    assert one is not None
    assert other is not None
    assert (one - other).norm() < 1e-3 * other.norm()


@pytest.mark.parametrize("time", [1024, 1000])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_magnitudes_are_those_of_torch(pad_mode: str, time: int) -> None:
    window = torch.hann_window(64)
    waveforms = [noise(2, time).requires_grad_() for _ in range(2)]
    ours = magnitudes(waveforms[0], window, 0.5, pad_mode)
    spectra = torch.stft(
        waveforms[1], 64, 16, window=window, pad_mode=pad_mode, return_complex=True
    )
    expected = spectra.abs().clamp(min=0.5).transpose(1, 2)
    torch.testing.assert_close(ours, expected)
    assert (ours == 0.5).any()
    weights = noise(*ours.shape, seed=1)
    for value in (ours, expected):
        (value * weights).sum().backward()
    torch.testing.assert_close(waveforms[0].grad, waveforms[1].grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hop", [16, 32])
def test_powers_are_those_of_torch(hop: int) -> None:
    window = torch.hann_window(64)
    waveforms = [noise(2, 1000).requires_grad_() for _ in range(2)]
    ours = powers(waveforms[0], window, hop)
    spectra = torch.stft(waveforms[1], 64, hop, window=window, center=False, return_complex=True)
    expected = (spectra.real**2 + spectra.imag**2).transpose(1, 2)
    torch.testing.assert_close(ours, expected)
    weights = noise(*ours.shape, seed=1)
    for value in (ours, expected):
        (value * weights).sum().backward()
    torch.testing.assert_close(waveforms[0].grad, waveforms[1].grad, rtol=1e-4, atol=1e-4)


def test_evaluation_does_not_spoil_training() -> None:
    """Filters made under inference_mode are kept, and must still serve a backward pass."""
    rate = 11_111  # no other test has made these filters
    target = noise(1, 2048)
    with torch.inference_mode():
        mel_distance(target, target, rate, (256,), (40,))
    estimate = noise(1, 2048, seed=1).requires_grad_()
    mel_distance(estimate, target, rate, (256,), (40,)).sum().backward()
    assert estimate.grad is not None
    assert estimate.grad.abs().sum() > 0


def tone(hz: float, phase: float = 0.0) -> torch.Tensor:
    t = torch.arange(22050) / 44100
    return 0.1 * torch.sin(2 * math.pi * hz * t + phase)[None]


def test_low_band_distance_is_about_phase_and_not_level() -> None:
    bass = tone(80.0)

    def distance(estimate: torch.Tensor) -> float:
        return low_band_distance(estimate, bass, 44100, 150.0).item()

    assert distance(bass) == pytest.approx(0.0, abs=1e-5)
    assert distance(0.3 * bass) == pytest.approx(0.0, abs=1e-5)
    assert distance(-bass) == pytest.approx(2.0, abs=1e-5)
    assert distance(tone(80.0, math.pi / 2)) == pytest.approx(1.0, abs=0.05)
    assert distance(bass + 10 * tone(2000.0)) == pytest.approx(0.0, abs=0.01)


def test_low_band_distance_pulls_a_silent_decoder_towards_the_phase() -> None:
    """The trap that a distance falls into: once quiet, no gradient."""
    bass = tone(80.0)
    estimate = (1e-3 * tone(80.0, math.pi / 2)).requires_grad_()
    low_band_distance(estimate, bass, 44100, 150.0).sum().backward()
    assert estimate.grad is not None
    step = -estimate.grad
    assert (step * bass).sum() > 0.9 * step.norm() * bass.norm()


def test_low_band_distance_of_silence_is_finite() -> None:
    silence = torch.zeros(1, 22050, requires_grad=True)
    value = low_band_distance(silence, torch.zeros(1, 22050), 44100, 150.0)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(silence.grad).all()  # type: ignore[arg-type]
