"""Windows of stored latents: fixed by (seed, index), padded, augmented and masked as promised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from codec.api import load as load_codec
from codec.errors import ConfigError
from diffusion.latents.sets import Clip, LatentSet
from diffusion.model import flow
from diffusion.model.config import load_diffusion_config
from diffusion.training.config import UNCHANGED, WindowConfig
from diffusion.training.quantised import Quantiser
from diffusion.training.windows import Windows, WindowSource, given_frames

Make = Callable[..., WindowSource]
PLAIN = UNCHANGED.model_dump()


def values(windows: Windows, item: int) -> list[torch.Tensor]:
    parts = [windows.x, windows.noise, windows.real, windows.t]
    return [part[item] for part in (*parts, *vars(windows.conditioning).values())]


def same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_an_item_is_a_function_of_seed_and_index(make_source: Make) -> None:
    source = make_source(denoise_share=0.5)
    whole = source.batch(range(40, 48))
    assert 0 < whole.conditioning.quantised.sum() < 8
    again = make_source(denoise_share=0.5)
    for item in (7, 3, 0):
        alone = again.batch([40 + item])
        assert same(values(alone, 0), values(whole, item))
    assert not same(values(whole, 0), values(whole, 1))
    other = make_source(seed=1, denoise_share=0.5)
    assert not same(values(other.batch([40]), 0), values(whole, 0))


def only(source: WindowSource, *clips: Clip, window_frames: int) -> WindowSource:
    """Windows of some clips, as they are."""
    model = source.model.model_copy(update={"window_frames": window_frames})
    latents = source.latents.only(clips)
    return WindowSource(latents, model, UNCHANGED, (), seed=0, batch_size=1)


def test_latents_are_drawn_from_the_posterior(make_source: Make) -> None:
    """Around the mean, as far as the stored sigma says."""
    source = make_source()
    clip = source.latents.clips[1]
    mean, logvar = source.latents.posterior(clip, 0, 125)
    x = only(source, clip, window_frames=125).batch(range(100)).x
    z = (x - mean) / (0.5 * logvar).exp()
    assert z.mean() == pytest.approx(0, abs=0.02)
    assert z.std() == pytest.approx(1, abs=0.02)
    assert (z[0] - z[1]).std() == pytest.approx(2**0.5, abs=0.1)


def test_short_clips_are_padded_and_padding_is_absent(make_source: Make) -> None:
    windows = make_source(window_frames=200, **PLAIN).batch(range(20))
    assert (windows.real[:, 0, 0].sum(dim=1) == 125).all()
    stereo = windows.conditioning.present[:, 1] == 1
    assert 0 < stereo.sum() < 20
    for tensor in (windows.x, windows.noise):
        assert (tensor[..., 125:] == 0).all()
        assert (tensor[~stereo, 1] == 0).all()
        assert (tensor[:, 0, :, :125] != 0).all()
    assert (windows.real[~stereo, 1] == 0).all()
    masked = make_source(window_frames=200, mask_share=1.0).batch(range(20)).conditioning
    assert (masked.mask[:, 125:] == 0).all()


def test_clips_are_drawn_by_length(make_source: Make) -> None:
    """One that is shorter than a window as if it filled a window."""
    source = make_source()
    short, long = (
        source.latents.clips[n].model_copy(update={"frames": frames})
        for n, frames in ((0, 5), (2, 96))
    )
    real = only(source, short, long, window_frames=32).batch(range(800)).real[:, 0, 0].sum(dim=1)
    assert set(real.tolist()) == {5.0, 32.0}
    assert (real == 5).float().mean() == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.8), (0.5, 0.667), (1.0, 0.5)])
def test_rare_labels_are_drawn_more_often(make_source: Make, balance: float, share: float) -> None:
    """Four windows' worth of rain and one of bells: 4 : 1, its root 2 : 1, or alike."""
    source = make_source()
    clips = [
        source.latents.clips[0].model_copy(update={"label": label, "frames": 32})
        for label in ("rain", "rain", "bell", "rain", "rain")
    ]
    chosen = WindowSource(
        source.latents.only(clips),
        source.model.model_copy(update={"window_frames": 32}),
        UNCHANGED.model_copy(update={"balance": balance}),
        ("bell", "rain"),
        seed=0,
        batch_size=1,
    )
    label = chosen.batch(range(1000)).conditioning.label
    assert (label == 2).float().mean() == pytest.approx(share, abs=0.05)


def test_windows_start_anywhere(make_source: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source()
    clip = source.latents.clips[0]
    mean, _ = source.latents.posterior(clip, 0, 125)

    def certain(self: LatentSet, clip: Clip, start: int, frames: int) -> Any:
        part = mean[..., start : start + frames]
        return part, torch.full_like(part, -100.0)

    monkeypatch.setattr(LatentSet, "posterior", certain)
    x = only(source, clip, window_frames=120).batch(range(100)).x[:, :1]
    offsets = [
        next(s for s in range(6) if torch.equal(window, mean[..., s : s + 120])) for window in x
    ]
    assert set(offsets) == set(range(6))


def test_times_cover_a_batch_evenly(make_source: Make) -> None:
    t = make_source(batch_size=16).batch(range(32, 48)).t.double()
    uniform = torch.special.ndtr((torch.logit(t) - flow.LOGIT_MEAN) / flow.LOGIT_DEVIATION)
    assert torch.equal((uniform * 16).floor(), torch.arange(16.0).double())


def test_stereo_is_swapped_and_reduced(make_source: Make) -> None:
    plain = make_source(**PLAIN).batch(range(60))
    stereo = plain.conditioning.present[:, 1] == 1
    swapped = make_source(**{**PLAIN, "swap_share": 1.0}).batch(range(60))
    assert torch.equal(swapped.x[stereo], plain.x[stereo].flip(1))
    assert torch.equal(swapped.x[~stereo], plain.x[~stereo])
    mono = make_source(**{**PLAIN, "mono_share": 1.0}).batch(range(60))
    assert (mono.conditioning.present == torch.tensor([1.0, 0.0])).all()
    assert torch.equal(mono.x[:, 0], plain.x[:, 0])
    assert (mono.x[:, 1] == 0).all()
    some = make_source(**{**PLAIN, "mono_share": 0.5}).batch(range(200)).conditioning.present
    assert some[:, 1].mean() == pytest.approx(0.25, abs=0.08)


def test_mid_and_side_are_not_swapped(make_source: Make) -> None:
    source = make_source(**{**PLAIN, "swap_share": 1.0})
    plain = make_source(**PLAIN).batch(range(20))
    index = source.latents.index.model_copy(update={"left_right": False})
    source.latents.index = index
    assert torch.equal(source.batch(range(20)).x, plain.x)


def test_conditions_are_dropped_as_often_as_configured(make_source: Make) -> None:
    told = make_source(label_drop=0.2, mask_share=0.5).batch(range(600))
    conditioning = told.conditioning
    assert (conditioning.label == 0).float().mean() == pytest.approx(0.2, abs=0.05)
    without = conditioning.mask.sum(dim=1) == 0
    # A task whose gap is the whole window is rare but is no mask either.
    assert without.float().mean() == pytest.approx(0.5, abs=0.08)
    given = conditioning.mask[:, None, None] * told.x
    assert torch.equal(conditioning.known, given)


def test_windows_to_be_denoised_are_what_files_hold(
    make_source: Make, codec_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codec's own coder at steps from its finest to its coarsest useful one, of means."""
    coder = load_codec(codec_path).coder
    drawn: list[tuple[np.ndarray, int]] = []
    original = type(coder).quantise

    def quantise(self: Any, latents: np.ndarray, index: int) -> np.ndarray:
        drawn.append((latents.copy(), index))
        return original(self, latents, index)

    monkeypatch.setattr(type(coder), "quantise", quantise)
    source = make_source(window_frames=200, denoise_share=1.0)
    windows = source.batch(range(60))
    told = windows.conditioning
    assert {index for _, index in drawn} == set(range(10, 21))  # of its useful range
    assert (told.quantised == 1).all()
    assert (told.label == 0).all()
    assert (told.mask == 0).all()
    for item, (latents, index) in enumerate(drawn):
        coded, _, frames = latents.shape
        assert torch.equal(windows.x[item, :coded, :, :frames], torch.from_numpy(latents))
        expected = coder.dequantise(original(coder, latents, index), index)
        given = told.dequantised[item]
        assert torch.equal(given[:coded, :, :frames], torch.from_numpy(expected))
        assert (given[coded:] == 0).all()
        assert (given[..., frames:] == 0).all()
        assert float(told.log_step[item]) == pytest.approx(index / 96 - 2)
    mean, _ = source.latents.posterior(source.latents.clips[1], 0, 125)
    assert any(np.array_equal(latents[:1], mean[:1].numpy()) for latents, _ in drawn)


def test_times_of_denoising_are_near_what_the_step_implies(make_source: Make) -> None:
    near, far = (make_source(denoise_share=share).batch(range(400)).t for share in (1.0, 0.0))
    level = 0.2 * 2 ** (15 / 96 - 2) / 12**0.5  # sigma .2, in the middle of the useful steps
    assert near.median() == pytest.approx(level, rel=1.0)
    assert (near > 0.3).float().mean() == pytest.approx(
        0.25 * float((far > 0.3).sum()) / 400, abs=0.06
    )


def test_some_windows_are_denoised_and_the_others_as_before(make_source: Make) -> None:
    windows = make_source(denoise_share=0.3, label_drop=0.0).batch(range(400))
    told = windows.conditioning
    assert told.quantised.mean() == pytest.approx(0.3, abs=0.06)
    plain = told.quantised == 0
    for given in (told.dequantised, told.log_step):
        assert (given[plain] == 0).all()
    assert (told.label[plain] > 0).all()


def test_a_codec_of_tokens_has_nothing_to_denoise() -> None:
    with pytest.raises(ConfigError, match=r"hold tokens.*denoise_share=0"):
        Quantiser(SimpleNamespace(tables=None, config=SimpleNamespace(name="some")))  # type: ignore


def test_inpainting_tasks() -> None:
    kinds = {"before": 0, "after": 0, "around": 0, "several": 0}
    for seed in range(400):
        given = given_frames(np.random.default_rng(seed), 30, 40)
        assert set(given) <= {0.0, 1.0}
        assert (given[30:] == 0).all()
        assert given[:30].min() == 0  # something is left to do
        edges = int(np.abs(np.diff(given[:30])).sum())
        if edges == 1:
            kinds["before" if given[0] else "after"] += 1
        elif edges == 2 and given[0]:
            kinds["around"] += 1
        elif edges > 2:
            kinds["several"] += 1
    assert min(kinds.values()) > 20, kinds
    for frames in (1, 2, 3):
        for seed in range(50):
            given_frames(np.random.default_rng(seed), frames, 8)


def test_other_latents_are_refused(make_source: Make) -> None:
    latents = make_source().latents
    model = load_diffusion_config("diffusion_small")
    with pytest.raises(ConfigError, match=r"2 coded channels of 64 latents.* 2 of 4"):
        WindowSource(latents, model, WindowConfig(), (), seed=0, batch_size=4)
