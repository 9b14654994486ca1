"""The diffusion model as a denoiser of files: what it aims at, its noise, and that it is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from generation_helpers import (
    codec_file,
    diffusion_file,
    offer_denoiser,
    save_both,
    tiny_codec,
    tone,
)
from torch import Tensor, nn

from codec.api import load
from codec.errors import CheckpointError
from codec.lac import denoising
from codec.lac.denoising import HALF, DenoiserFactory, QuantisedBlock
from codec.model import checkpoint as codec_checkpoint
from diffusion.denoising import LatentDenoiser, denoiser_for
from diffusion.model import checkpoint, shipped
from diffusion.model.conditioning import Conditioning

STEP_INDEX = 400


def quantised(latents: np.ndarray, first_frame: int = 0, index: int = STEP_INDEX) -> QuantisedBlock:
    """As the codec gives a block of these latents (streams, latent_dim, frames)."""
    tables = tiny_codec().tables
    steps = tables.stream_steps(index, len(latents))  # type: ignore[union-attr]
    symbols = tables.quantise(latents, index)
    low, high = (((symbols + side) * steps[..., None]).astype(np.float32) for side in (-HALF, HALF))
    return QuantisedBlock(
        (symbols * steps[..., None]).astype(np.float32),
        low,
        high,
        steps,
        index,
        tuple(range(len(latents))),
        first_frame,
    )


def latents(streams: int = 2, frames: int = 100, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((streams, 4, frames)).astype(np.float32)


def denoiser(network: nn.Module | None = None, **how: object) -> LatentDenoiser:
    codec = tiny_codec()
    return LatentDenoiser(diffusion_file(codec, network), codec, **how)  # type: ignore[arg-type]


class Oracle(nn.Module):
    """Knows what was quantised, and keeps what it was told."""

    def __init__(self, truth: np.ndarray) -> None:
        super().__init__()
        self.truth, self.told, self.times = torch.from_numpy(truth), [], []  # type: ignore[var-annotated]
        self.place = 0

    def forward(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        self.told.append(conditioning)
        self.times.append(float(t))
        truth = torch.zeros_like(x_t)
        coded, frames = len(self.truth), x_t.shape[3]
        truth[0, :coded] = self.truth[..., self.place : self.place + frames]
        self.place += frames
        return (x_t - truth) / t[:, None, None, None]


@pytest.mark.parametrize("streams", [1, 2])
def test_a_network_that_knows_the_latents_gives_them(streams: int) -> None:
    true = latents(streams)
    oracle = Oracle(true)
    block = quantised(true)
    denoised = denoiser(oracle)(block, 1)
    np.testing.assert_allclose(denoised, true, atol=1e-5)
    # Four windows of 32 frames, the last one short, each told what the file says.
    assert [told.dequantised.shape[3] for told in oracle.told] == [32, 32, 32, 4]
    step = 0.2 * 2 ** (STEP_INDEX / 96 - 2)
    level = step / 12**0.5
    assert oracle.times == pytest.approx([2 * level / (1 + level)] * 4, rel=1e-3)
    for place, told in zip((0, 32, 64, 96), oracle.told, strict=True):
        part = torch.from_numpy(block.latents[..., place : place + 32])
        assert torch.equal(told.dequantised[0, :streams], part)
        assert told.quantised.tolist() == [1]
        assert told.log_step.tolist() == pytest.approx([STEP_INDEX / 96 - 2])
        assert told.present.tolist() == [[1, 1] if streams == 2 else [1, 0]]
        assert not told.mask.any()
        assert not told.label.any()


def test_side_stays_as_it_is() -> None:
    true = latents(2)
    block, codec = quantised(true), tiny_codec(stereo="mid_side")
    denoised = LatentDenoiser(diffusion_file(codec, Oracle(true)), codec)(block, 1)
    np.testing.assert_allclose(denoised[0], true[0], atol=1e-5)
    assert np.array_equal(denoised[1], block.latents[1])


def test_for_measurements_the_start_and_the_condition_can_be_others() -> None:
    true = latents()
    oracle = Oracle(true)
    denoiser(oracle, start=lambda t: 1.0, conditioned=False)(quantised(true), 1)
    assert set(oracle.times) == {1.0}
    assert not oracle.told[0].quantised.any()
    assert not oracle.told[0].dequantised.any()


def test_more_streams_than_the_network_models_are_denoised_one_by_one() -> None:
    three = latents(streams=3)
    together = denoiser()(quantised(three), 2)
    for stream in range(3):
        block = quantised(three[stream : stream + 1])
        own = QuantisedBlock(**{**vars(block), "channels": (stream,)})
        assert np.array_equal(denoiser()(own, 2)[0], together[stream])


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_estimates_stay_in_their_cells(steps: int) -> None:
    block = quantised(latents())
    denoised = denoiser()(block, steps)  # untrained, and so anywhere
    assert denoised.dtype == np.float32
    assert (denoised >= block.low).all()
    assert (denoised <= block.high).all()
    assert (np.abs(denoised - block.latents) > 1e-3).mean() > 0.5


def test_noise_belongs_to_the_frame_and_the_channel() -> None:
    true = latents(frames=64)
    block = quantised(true, first_frame=512)
    once = denoiser()(block, 2)
    assert np.array_equal(denoiser()(block, 2), once)
    elsewhere = denoiser()(quantised(true, first_frame=768), 2)
    swapped = denoiser()(QuantisedBlock(**{**vars(block), "channels": (1, 0)}), 2)
    for other in (elsewhere, swapped):
        assert (np.abs(other - once) > 1e-4).mean() > 0.5


def test_random_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    denoiser()(quantised(latents()), 2)
    assert torch.equal(torch.get_rng_state(), state)


# -- in files ----------------------------------------------------------------------------------


def test_a_span_of_a_denoised_file_equals_the_slice_of_the_whole() -> None:
    codec, denoise = tiny_codec(), denoiser()
    data = codec.compress(tone(5.0), 16000, kbps=4)

    def decode(*span: float) -> np.ndarray:
        return codec.decompress(data, *span, steps=2, denoiser=denoise)[0].numpy()

    whole = decode()
    assert not np.array_equal(whole, codec.decompress(data)[0].numpy())
    for start, duration in ((0.0, 0.3), (2.04, 0.1), (2.5, 2.0), (4.9, 0.1)):
        first, last = round(start * 16000), round((start + duration) * 16000)
        assert np.array_equal(decode(start, duration), whole[:, first:last]), start


def test_weights_by_path_and_those_of_another_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_denoiser(monkeypatch)
    model, path = save_both(tmp_path)
    own = load(path)
    data = own.compress(tone(1.0), 16000)
    plain = own.decompress(data)[0]
    assert not torch.equal(own.decompress(data, steps=1, denoiser=model)[0], plain)
    codec_checkpoint.save(codec_file(seed=5), tmp_path / "other.safetensors")
    other = load(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=f"{own.latent_id}.*{other.latent_id}"):
        other.decompress(other.compress(tone(1.0), 16000), steps=1, denoiser=model)
    with pytest.raises(CheckpointError, match=r"no diffusion model 'nonesuch'"):
        own.decompress(data, steps=1, denoiser="nonesuch")


def test_the_shipped_model_of_the_latents_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = tiny_codec()
    assert denoiser_for(tiny_codec(seed=3)) is None
    monkeypatch.setattr(shipped, "WEIGHTS_DIR", tmp_path)
    assert denoiser_for(codec) is None
    other = diffusion_file(tiny_codec(seed=3))
    checkpoint.save(other, tmp_path / "a.safetensors")
    assert denoiser_for(codec) is None
    checkpoint.save(diffusion_file(codec), tmp_path / "b.safetensors")
    found = denoiser_for(codec)
    assert found is not None
    block = quantised(latents())
    np.testing.assert_allclose(found(block, 2), denoiser()(block, 2), atol=0.02)  # in float16


def test_the_package_offers_it_to_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    offer_denoiser(monkeypatch)
    (entry,) = denoising.entry_points(group=denoising.GROUP)
    factory: DenoiserFactory = denoiser_for
    assert entry.load() is factory
