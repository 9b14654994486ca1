"""The Oobleck network: published size, exact lengths, receptive field, loadable weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codec.errors import AudioError
from codec.network.config import OobleckConfig
from codec.network.oobleck import OobleckDecoder, OobleckEncoder

CHANNELS, LATENT_DIM = 2, 3


def tiny(strides: tuple[int, ...], pqmf_bands: int = 1) -> OobleckConfig:
    return OobleckConfig(
        width=4,
        width_multiples=tuple(range(1, len(strides) + 1)),
        strides=strides,
        pqmf_bands=pqmf_bands,
    )


CONFIGS = {
    "even": tiny((2, 4, 8)),
    "odd": tiny((3, 5)),
    "mixed": tiny((2, 3, 4)),
    "one": tiny((1, 2)),
    "pqmf": tiny((4, 2), pqmf_bands=16),
    "pqmf-odd": tiny((3,), pqmf_bands=16),
}
all_configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def noise(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def networks(config: OobleckConfig) -> tuple[OobleckEncoder, OobleckDecoder]:
    """An encoder and a decoder in double precision, so that comparisons can be strict."""
    torch.manual_seed(0)
    encoder = OobleckEncoder(config, CHANNELS, 2 * LATENT_DIM)
    decoder = OobleckDecoder(config, CHANNELS, LATENT_DIM)
    return encoder.double(), decoder.double()


def influence(output: Tensor, source: Tensor, hop: int) -> tuple[int, int]:
    """First and last frame of ``source``, ``hop`` samples each, with a gradient to ``output``."""
    (gradient,) = torch.autograd.grad(output.sum(), source)
    frames = gradient.reshape(gradient.shape[1], -1, hop).abs().sum((0, 2)).nonzero().flatten()
    return int(frames[0]), int(frames[-1])


def test_published_configuration_has_156_million_parameters() -> None:
    config = OobleckConfig()
    with torch.device("meta"):
        parts = OobleckEncoder(config, 2, 128), OobleckDecoder(config, 2, 64)
    # counted in diffusers 0.42.1: AutoencoderOobleck(), encoder and decoder
    assert [sum(p.numel() for p in part.parameters()) for part in parts] == [77989888, 78122626]


def test_outputs_equal_those_of_the_reference_implementation() -> None:
    """Golden numbers: diffusers 0.42.1's AutoencoderOobleck in float64 with the same weights."""

    def wave(phase: int, shape: torch.Size | tuple[int, ...]) -> Tensor:
        steps = torch.arange(math.prod(shape), dtype=torch.float64)
        return 0.5 * torch.sin(phase + 1.7 * steps).reshape(shape)

    config = OobleckConfig(width=4, width_multiples=(1, 2), strides=(2, 4))
    encoder = OobleckEncoder(config, CHANNELS, 4).double()
    decoder = OobleckDecoder(config, CHANNELS, LATENT_DIM).double()
    for network in (encoder, decoder):
        tensors = network.state_dict()
        network.load_state_dict({k: wave(i, tensors[k].shape) for i, k in enumerate(tensors)})
    with torch.inference_mode():
        moments = encoder(wave(0, (1, CHANNELS, 24)))[0, :, 1]
        waveform = decoder(wave(0, (1, LATENT_DIM, 3)))[0, :, ::6]
    expected = torch.tensor([-0.245410935, 0.547625241, 0.134177713, -0.544963627])
    torch.testing.assert_close(moments, expected.double(), rtol=0, atol=1e-7)
    expected = torch.tensor(
        [
            [0.010616622, -0.005988015, -0.010305507, -0.008833302],
            [0.011617976, 0.011661862, 0.001642889, 0.000719491],
        ]
    )
    torch.testing.assert_close(waveform, expected.double(), rtol=0, atol=1e-7)


@all_configs
@pytest.mark.parametrize("frames", [1, 7])
def test_lengths_are_exact(config: OobleckConfig, frames: int) -> None:
    encoder, decoder = networks(config)
    with torch.inference_mode():
        moments = encoder(noise(2, CHANNELS, frames * config.hop_length))
        waveform = decoder(noise(2, LATENT_DIM, frames))
    assert moments.shape == (2, 2 * LATENT_DIM, frames)
    assert waveform.shape == (2, CHANNELS, frames * config.hop_length)


@all_configs
def test_gradients_reach_every_parameter(config: OobleckConfig) -> None:
    for network, source in zip(
        networks(config),
        (noise(1, CHANNELS, 4 * config.hop_length), noise(1, LATENT_DIM, 4)),
        strict=True,
    ):
        network(source).square().sum().backward()
        silent = [
            name
            for name, p in network.named_parameters()
            if p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any()
        ]
        assert not silent


@all_configs
def test_encoder_receptive_field_is_what_it_says(config: OobleckConfig) -> None:
    encoder, _ = networks(config)
    reach = encoder.receptive_frames
    frames, centre = 2 * reach + 5, reach + 2
    waveform = noise(1, CHANNELS, frames * config.hop_length).requires_grad_()
    first, last = influence(encoder(waveform)[..., centre], waveform, config.hop_length)
    # no wider than promised, and no wider a promise than needed: every block pays for its halo
    assert max(centre - first, last - centre) == reach


@all_configs
def test_decoder_receptive_field_is_what_it_says(config: OobleckConfig) -> None:
    _, decoder = networks(config)
    reach = decoder.receptive_frames
    frames, centre = 2 * reach + 5, reach + 2
    z = noise(1, LATENT_DIM, frames).requires_grad_()
    samples = slice(centre * config.hop_length, (centre + 1) * config.hop_length)
    first, last = influence(decoder(z)[..., samples], z, 1)
    assert max(centre - first, last - centre) == reach


@all_configs
def test_blocks_with_a_halo_equal_the_whole(config: OobleckConfig) -> None:
    encoder, decoder = networks(config)
    block = 5
    cases: list[tuple[nn.Module, int, Tensor, int, int]] = [
        (encoder, encoder.receptive_frames, noise(1, CHANNELS, 23 * config.hop_length), 1, 0),
        (decoder, decoder.receptive_frames, noise(1, LATENT_DIM, 23), 0, 1),
    ]
    for network, halo, source, waveform_in, waveform_out in cases:
        unit_in = config.hop_length if waveform_in else 1
        unit_out = config.hop_length if waveform_out else 1
        with torch.inference_mode():
            whole = network(source)
            pieces = []
            for start in range(0, 23, block):
                left, right = max(start - halo, 0), min(start + block + halo, 23)
                piece = network(source[..., left * unit_in : right * unit_in])
                keep = slice((start - left) * unit_out, (start - left + block) * unit_out)
                pieces.append(piece[..., keep])
        torch.testing.assert_close(torch.cat(pieces, -1)[..., : whole.shape[-1]], whole)


def test_batch_items_do_not_influence_each_other() -> None:
    config = CONFIGS["pqmf"]
    encoder, decoder = networks(config)
    loud_and_quiet = torch.tensor([100.0, 0.01], dtype=torch.float64)[:, None, None]
    for network, source in (
        (encoder, noise(2, CHANNELS, 4 * config.hop_length) * loud_and_quiet),
        (decoder, noise(2, LATENT_DIM, 4) * loud_and_quiet),
    ):
        with torch.inference_mode():
            together = network(source)
            alone = torch.cat([network(item[None]) for item in source])
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


def test_decoder_writes_where_the_encoder_reads_at_odd_strides() -> None:
    config = CONFIGS["odd"]
    encoder, decoder = networks(config)
    encoder_reach, decoder_reach = encoder.receptive_frames, decoder.receptive_frames
    centre = max(encoder_reach, decoder_reach)
    frames = 2 * centre + 1
    waveform = noise(1, CHANNELS, frames * config.hop_length).requires_grad_()
    first, last = influence(encoder(waveform)[..., centre], waveform, 1)
    # both ends of what one latent frame changes
    z = noise(1, LATENT_DIM, frames)
    other = z.clone()
    other[..., centre] += 1.0
    with torch.inference_mode():
        changed = (decoder(z) - decoder(other))[0].abs().sum(0).nonzero().flatten()
    assert first + last == int(changed[0] + changed[-1])


def test_waveform_that_does_not_fill_its_frames_is_refused() -> None:
    encoder, _ = networks(CONFIGS["even"])
    with pytest.raises(AudioError, match=r"100 samples.*hop_length 64.*28 zeros"):
        encoder(noise(1, CHANNELS, 100))


def test_weights_round_trip_through_safetensors(tmp_path: Path) -> None:
    config = CONFIGS["pqmf"]
    encoder, _ = networks(config)
    torch.manual_seed(2)  # other weights than networks() makes
    copy = OobleckEncoder(config, CHANNELS, 2 * LATENT_DIM).double()
    waveform = noise(1, CHANNELS, 3 * config.hop_length)
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    with torch.inference_mode():
        assert not torch.equal(copy(waveform), encoder(waveform))
        copy.load_state_dict(load_file(tmp_path / "encoder.safetensors"))
        assert torch.equal(copy(waveform), encoder(waveform))


def test_state_dict_of_the_open_release_loads() -> None:
    """Names and shapes as in Stable Audio's checkpoint, here for one stage of stride 2."""
    width, wide = 4, 8

    def conv(name: str, first: int, second: int, kernel: int, biases: int) -> dict[str, Tensor]:
        tensors = {
            f"{name}.weight_g": noise(first, 1, 1),
            f"{name}.weight_v": noise(first, second, kernel),
        }
        return tensors | ({f"{name}.bias": noise(biases)} if biases else {})

    def snake(name: str, channels: int) -> dict[str, Tensor]:
        return {f"{name}.alpha": noise(channels), f"{name}.beta": noise(channels)}

    def unit(name: str) -> dict[str, Tensor]:
        return {
            **snake(f"{name}.layers.0", width),
            **conv(f"{name}.layers.1", width, width, 7, width),
            **snake(f"{name}.layers.2", width),
            **conv(f"{name}.layers.3", width, width, 1, width),
        }

    config = OobleckConfig(width=width, width_multiples=(2,), strides=(2,))
    released = {
        **conv("layers.0", wide, LATENT_DIM, 7, wide),
        **snake("layers.1.layers.0", wide),
        # a transposed convolution's norm is taken per input channel, its bias per output channel
        **conv("layers.1.layers.1", wide, width, 4, width),
        **unit("layers.1.layers.2"),
        **unit("layers.1.layers.3"),
        **unit("layers.1.layers.4"),
        **snake("layers.2", width),
        **conv("layers.3", CHANNELS, width, 7, 0),
    }
    decoder = OobleckDecoder(config, CHANNELS, LATENT_DIM)
    decoder.load_state_dict(released)
    assert math.isclose(
        decoder.layers[0].weight[0].norm().item(), abs(noise(wide, 1, 1)[0].item()), rel_tol=1e-5
    )
