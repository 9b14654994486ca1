"""The transformer: its start, what reaches it, and what must not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from diffusion.model.conditioning import Conditioning, drop
from diffusion.model.config import DiffusionConfig, TransformerConfig
from diffusion.model.transformer import Attention, Transformer, rotary_table

T = torch.tensor([0.2, 0.5, 0.9])


@pytest.fixture
def x_t(tiny_conditioning: Conditioning) -> Tensor:
    torch.manual_seed(2)
    return torch.randn_like(tiny_conditioning.known)


def test_an_untrained_network_predicts_zero(
    tiny_diffusion: DiffusionConfig, tiny_conditioning: Conditioning, x_t: Tensor
):
    transformer = Transformer(tiny_diffusion, 3)
    assert torch.equal(transformer(x_t, T, tiny_conditioning), torch.zeros_like(x_t))


def test_an_untrained_block_hands_its_input_on(tiny_diffusion: DiffusionConfig):
    transformer = Transformer(tiny_diffusion, 3)
    x = torch.randn(2, 7, tiny_diffusion.transformer.width)
    condition = torch.randn(2, tiny_diffusion.transformer.width)
    rotation = rotary_table(torch.arange(5.0), 2, transformer.head_dim)
    assert torch.equal(transformer.blocks[0](x, condition, rotation), x)


def test_gradients_reach_every_parameter(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning, x_t: Tensor
):
    tiny_transformer(x_t, T, tiny_conditioning).square().sum().backward()
    for name, parameter in tiny_transformer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("frames", [1, 7, 100])
def test_any_number_of_frames(
    tiny_transformer: Transformer, tiny_diffusion: DiffusionConfig, frames: int
):
    x_t = torch.randn(2, 2, 4, frames)
    y = tiny_transformer(x_t, T[:2], Conditioning.none(2, tiny_diffusion, frames))
    assert y.shape == x_t.shape
    assert torch.isfinite(y).all()


def test_items_of_a_batch_do_not_meet(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning, x_t: Tensor
):
    together = tiny_transformer(x_t, T, tiny_conditioning)
    for i in range(3):
        alone = Conditioning(**{k: v[i : i + 1] for k, v in vars(tiny_conditioning).items()})
        y = tiny_transformer(x_t[i : i + 1], T[i : i + 1], alone)
        torch.testing.assert_close(y[0], together[i])


@pytest.mark.parametrize("field", [field.name for field in fields(Conditioning)])
def test_every_condition_changes_the_output(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning, x_t: Tensor, field: str
):
    given = getattr(tiny_conditioning, field)
    none = getattr(Conditioning.none(3, tiny_transformer.config, x_t.shape[-1]), field)
    y = tiny_transformer(x_t, T, tiny_conditioning)
    changed = tiny_transformer(x_t, T, replace(tiny_conditioning, **{field: none}))
    # Of those items that have the condition, and of no other.
    expected = (given != none).reshape(3, -1).any(1)
    assert expected.any()
    assert torch.equal(((y - changed).abs() > 1e-4).flatten(1).any(1), expected)


def test_the_time_changes_the_output(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning, x_t: Tensor
):
    y = tiny_transformer(x_t, T, tiny_conditioning)
    assert ((y - tiny_transformer(x_t, T + 0.05, tiny_conditioning)).abs() > 1e-4).any()


def test_what_an_absent_channel_holds_has_no_influence(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning, x_t: Tensor
):
    y = tiny_transformer(x_t, T, tiny_conditioning)
    noisy, known = x_t.clone(), tiny_conditioning.known.clone()
    dequantised = tiny_conditioning.dequantised.clone()
    for values in (noisy, known, dequantised):
        values[2, 1] += 1
    other = replace(tiny_conditioning, known=known, dequantised=dequantised)
    assert torch.equal(y, tiny_transformer(noisy, T, other))


def test_what_says_quantised_latents_starts_at_zero(
    tiny_diffusion: DiffusionConfig, tiny_conditioning: Conditioning, x_t: Tensor
):
    """So that weights that were trained without it say the same as before."""
    transformer = Transformer(tiny_diffusion, 3)
    told = [name for name in transformer.state_dict() if "dequantised" in name or ".step" in name]
    assert len(told) == 3
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if name not in told:
                parameter += 0.1 * torch.randn_like(parameter)
    without = replace(tiny_conditioning, quantised=torch.zeros(3))
    y = transformer(x_t, T, tiny_conditioning)
    assert torch.equal(y, transformer(x_t, T, without))
    assert y.abs().max() > 0


def test_what_is_known_outside_the_mask_has_no_influence(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning, x_t: Tensor
):
    known = tiny_conditioning.known + (1 - tiny_conditioning.mask)[:, None, None, :]
    y = tiny_transformer(x_t, T, tiny_conditioning)
    assert torch.equal(y, tiny_transformer(x_t, T, replace(tiny_conditioning, known=known)))


@pytest.mark.parametrize("memory", [0, 3])
def test_attention_knows_distances_and_not_places(memory: int):
    torch.manual_seed(0)
    attention = Attention(64, 2)
    x = torch.randn(1, memory + 20, 64)
    positions = torch.arange(20.0)

    def attend(positions: Tensor) -> Tensor:
        return attention(x, rotary_table(positions, memory, 32))

    y = attend(positions)
    torch.testing.assert_close(attend(positions + 300), y, atol=1e-5, rtol=1e-4)
    for other in (2 * positions, -positions):
        assert (attend(other) - y)[:, memory:].abs().max() > 1e-2


def test_memory_tokens_pass_on_what_all_frames_hold():
    """Frames and memory tokens see one another."""
    torch.manual_seed(0)
    attention = Attention(64, 2)
    rotation = rotary_table(torch.arange(20.0), 3, 32)
    x = torch.randn(1, 23, 64, requires_grad=True)
    y = attention(x, rotation)
    (from_frames,) = torch.autograd.grad(y[:, :3].square().sum(), x, retain_graph=True)
    (from_memory,) = torch.autograd.grad(y[:, 3:].square().sum(), x)
    assert (from_frames[:, 3:].abs().amax(2) > 0).all()
    assert (from_memory[:, :3].abs().amax(2) > 0).all()


def test_dropout_is_for_training(tiny_diffusion: DiffusionConfig, tiny_transformer: Transformer):
    settings = TransformerConfig(**{**tiny_diffusion.transformer.model_dump(), "dropout": 0.5})
    transformer = Transformer(tiny_diffusion.model_copy(update={"transformer": settings}), 3)
    transformer.load_state_dict(tiny_transformer.state_dict())
    x_t, none = torch.randn(3, 2, 4, 9), Conditioning.none(3, tiny_diffusion, 9)
    expected = tiny_transformer(x_t, T, none)
    assert not torch.allclose(transformer.train()(x_t, T, none), expected)
    torch.testing.assert_close(transformer.eval()(x_t, T, none), expected)


def test_bfloat16_comes_close(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning, x_t: Tensor
):
    y = tiny_transformer(x_t, T, tiny_conditioning)
    with torch.autocast("cpu", torch.bfloat16):
        rough = tiny_transformer(x_t, T, tiny_conditioning)
    assert (rough - y).std() < 0.03 * y.std()


def test_dropping_conditions_item_by_item(tiny_conditioning: Conditioning):
    first, none = torch.tensor([True, False, False]), torch.zeros(3, dtype=torch.bool)
    assert drop(tiny_conditioning, first, none).label.tolist() == [0, 0, 1]
    dropped = drop(tiny_conditioning, none, first)
    assert not dropped.mask.any()
    assert not dropped.known.any()
    assert torch.equal(dropped.label, tiny_conditioning.label)
    kept = drop(tiny_conditioning, none, none)
    assert all(torch.equal(v, getattr(tiny_conditioning, k)) for k, v in vars(kept).items())


def test_unconditional_keeps_what_is_asked(tiny_conditioning: Conditioning):
    bare = tiny_conditioning.unconditional()
    assert not bare.label.any()
    for field in ("known", "mask", "present"):
        assert torch.equal(getattr(bare, field), getattr(tiny_conditioning, field))
