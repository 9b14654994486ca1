"""The discriminators' shapes and gradients, and their losses by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from codec.training.config import AdversarialConfig
from codec.training.discriminators import (
    Discriminators,
    PeriodDiscriminator,
    STFTDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)

SMALL = AdversarialConfig(stft_windows=(256, 64), stft_width=3, periods=(2, 7), period_width=2)


@pytest.fixture
def rows() -> Tensor:
    return torch.randn(3, 1531, generator=torch.Generator().manual_seed(0))


def test_shapes(rows: Tensor) -> None:
    judgements = Discriminators(SMALL)(rows)
    assert len(judgements) == 4
    for layers in judgements:
        assert len(layers) == 4
        assert all(layer.ndim == 4 and len(layer) == 3 for layer in layers)
        assert layers[-1].shape[1] == 1
    assert [layers[0].shape[1] for layers in judgements] == [3, 3, 2, 2]
    assert [judgements[2][0].shape[3], judgements[3][0].shape[3]] == [2, 7]


def test_picture_is_the_compressed_complex_spectrogram() -> None:
    """A tone in its bin: the phase as it is, the magnitude to the power of 0.3."""
    time = torch.arange(4096)
    tones = torch.stack([torch.cos(2 * torch.pi * 8 / 64 * time), torch.zeros(4096)])
    picture = STFTDiscriminator(64, 2).picture(tones)
    assert picture.shape == (2, 2, 4096 // 16 + 1, 33)
    real, imaginary = picture[0, :, 100, 8]
    window = torch.hann_window(64)
    magnitude = window.sum() / 2 / window.norm()
    assert real.item() == pytest.approx(magnitude.item() ** 0.3, rel=1e-3)  # frames start in phase
    assert imaginary.item() == pytest.approx(0, abs=1e-3)
    assert picture[1].abs().max() == 0


def test_periods_are_columns() -> None:
    """A sample influences only what lies in its column."""
    network = PeriodDiscriminator(5, 2)
    x = torch.zeros(1, 500, requires_grad=True)
    network(x)[-1][..., 3].sum().backward()
    assert x.grad is not None
    by_column = x.grad.reshape(-1, 5).abs().sum(0)
    assert by_column[3] > 0
    assert by_column[[0, 1, 2, 4]].sum() == 0


def test_gradients_reach_every_weight_and_sample(rows: Tensor) -> None:
    networks = Discriminators(SMALL)
    fake = (0.5 * rows).requires_grad_()
    real, made = networks(rows), networks(fake)
    # With the second term, for the gradients of the last bias cancel in the first.
    (discriminator_loss(real, made) + 0.5 * adversarial_loss(made)).backward()
    assert fake.grad is not None
    assert (fake.grad != 0).float().mean() > 0.99
    for name, parameter in networks.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_silence_has_a_finite_gradient() -> None:
    networks = Discriminators(SMALL)
    silent = torch.zeros(2, 800, requires_grad=True)
    judgements = networks(silent)
    loss = adversarial_loss(judgements) + feature_matching_loss(judgements, networks(silent))
    loss.backward()
    assert silent.grad is not None
    assert torch.isfinite(silent.grad).all()


def test_bfloat16(rows: Tensor) -> None:
    networks = Discriminators(SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        half = networks(rows)
    assert half[0][0].dtype == torch.bfloat16
    full = discriminator_loss(networks(rows), networks(-rows))
    assert discriminator_loss(half, networks(-rows)).item() == pytest.approx(full.item(), rel=0.02)


def judgement(logits: list[float], *layers: list[list[float]]) -> list[Tensor]:
    return [*(torch.tensor(layer) for layer in layers), torch.tensor(logits)[:, None]]


def test_hinge_by_hand() -> None:
    real = [judgement([2.0, 0.5]), judgement([0.0, -1.0])]
    fake = [judgement([-3.0, 0.5]), judgement([0.0, 1.0])]
    # (0 + 0.5) / 2 + (0 + 1.5) / 2 = 1, and (1 + 2) / 2 + (1 + 2) / 2 = 3.
    assert discriminator_loss(real, fake).item() == pytest.approx(2.0)
    # 1.25 and -0.5.
    assert adversarial_loss(fake).item() == pytest.approx(0.375)
    nothing = [judgement([0.0])]
    assert discriminator_loss(nothing, nothing).item() == 2.0


def test_feature_matching_by_hand() -> None:
    """Relative to the recording's layer, row by row; logits do not count."""
    real = [judgement([0.0, 0.0], [[1.0, -3.0], [10.0, 30.0]], [[4.0], [1.0]])]
    fake = [judgement([9.0, 9.0], [[2.0, -3.0], [10.0, 10.0]], [[4.0], [3.0]])]
    # First layer: 0.5 / 2 and 10 / 20, on average 0.375. Second: 0 and 2, on average 1.
    assert feature_matching_loss(real, fake).item() == pytest.approx((0.375 + 1.0) / 2)


def test_rows_do_not_influence_each_other(rows: Tensor) -> None:
    networks = Discriminators(SMALL)
    fake = torch.roll(rows, 1, dims=1) * 0.7

    def losses(part: slice) -> Tensor:
        real, made = networks(rows[part]), networks(fake[part])
        terms = [discriminator_loss(real, made), adversarial_loss(made)]
        return torch.stack([*terms, feature_matching_loss(real, made)])

    alone = torch.stack([losses(slice(i, i + 1)) for i in range(3)]).mean(0)
    torch.testing.assert_close(losses(slice(None)), alone, rtol=1e-4, atol=1e-6)


def test_no_discriminator_at_all_is_refused() -> None:
    with pytest.raises(ValidationError, match="both empty"):
        AdversarialConfig(stft_windows=(), periods=())
