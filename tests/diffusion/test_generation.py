"""Generation: windows that carry on, seeds, conditions, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from generation_helpers import (
    LABELS,
    WINDOW,
    ConstantWorld,
    WhiteWorld,
    diffusion_file,
    save_both,
    tiny_codec,
    tiny_generator,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import diffusion
from codec.errors import CheckpointError, ConfigError, LacunaError
from codec.model.sound import Sound, decode_waveform
from diffusion.generation import Generator, Sampling, generate, generate_together, load
from diffusion.model.conditioning import Conditioning
from diffusion.model.mixture import parse_mixture
from diffusion.model.profile import DEFAULT_PROFILE, LabelProfile
from diffusion.model.window_plan import plan_windows

QUICK = Sampling(steps=2, sampler="euler")


@given(
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 150)), min_size=1, max_size=6),
    window=st.integers(1, 40),
)
def test_windows_cover_what_is_unknown_and_see_what_is_beside_it(runs, window):
    known = torch.cat([torch.full((length,), value) for value, length in runs])
    frames, overlap = len(known), window // 4
    done = known.clone()
    for first, last in plan_windows(known, window):
        assert 0 <= first < last <= frames
        assert last - first <= window
        new = (~done[first:last]).nonzero()[:, 0] + first
        assert len(new)
        if new[0] > 0:
            assert new[0] - first >= min(overlap, new[0])
        # What follows a gap is seen together with the gap's end.
        end = int(new[-1]) + 1
        if end < frames and done[end] and int(new[-1]) - int(new[0]) == len(new) - 1:
            assert last - end >= min(overlap, frames - end)
        done[first:last] = True
    assert done.all()


def test_windows_grow_in_number_as_the_sound_does():
    unknown = torch.zeros(100 * 192 + 64, dtype=torch.bool)
    assert len(plan_windows(unknown, 256)) == 100


def test_what_is_made_carries_on_from_window_to_window():
    model = tiny_generator(network=ConstantWorld())
    for sampler in ("euler", "midpoint", "dpmpp_2m"):
        sound = generate(model, 1.5, sampling=Sampling(sampler=sampler, steps=4))
        assert sound.latents.shape[2] > 5 * WINDOW
        assert sound.latents.std() > 0.1
        assert (sound.latents - sound.latents[:, :, :1]).abs().max() < 1e-4


def test_known_frames_come_back_unchanged_and_count():
    model = tiny_generator()
    torch.manual_seed(0)
    latents = torch.randn(2, 4, 100)
    known = torch.ones(100, dtype=torch.bool)
    known[20:30] = known[40:95] = False
    made = model.fill(latents, known, QUICK)
    assert torch.equal(made[:, :, known], latents[:, :, known])
    assert not torch.isclose(made[:, :, ~known], latents[:, :, ~known]).all(dim=1).any()
    # What was in the gaps is forgotten, and what is beside them is not.
    forgotten = torch.where(known, latents, -3.0)
    assert torch.equal(model.fill(forgotten, known, QUICK), made)
    other = torch.where(known, latents + 1, latents)
    assert not torch.isclose(model.fill(other, known, QUICK), made).any(dim=1)[:, ~known].all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("codec_channels", [1, 2])
def test_shapes(channels: int, codec_channels: int):
    codec = tiny_codec(channels=codec_channels)
    model = tiny_generator(codec)
    assert model.max_channels == 2
    sound = generate(model, 0.7, channels=channels, sampling=QUICK)
    coded = channels if codec_channels == 1 else 1
    assert sound.latents.shape == (coded, 4, 88)  # ceil(0.7 * 16000 / 128)
    assert (sound.sample_rate, sound.channels, sound.samples) == (16000, channels, 11200)
    waveform = decode_waveform(codec, sound)
    assert waveform.shape == (channels, 11200)
    assert waveform.isfinite().all()


def test_a_seed_gives_its_sound_again_and_another_gives_another():
    model = tiny_generator()
    first, second, again = (
        generate(model, 0.4, sampling=replace(QUICK, seed=seed)).latents for seed in (5, 6, 5)
    )
    assert torch.equal(first, again)
    assert not torch.isclose(first, second).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_any_default_type_of_torch(dtype: torch.dtype, tmp_path: Path):
    weights, codec = save_both(tmp_path)
    sampling = replace(QUICK, label="bell")
    expected = generate(load(weights, codec), 0.3, sampling=sampling)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = load(weights, codec)
        sound = generate(model, 0.3, sampling=sampling)
        noise = generate(model, 0.3, sampling=sampling, prior=True)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(sound.latents, expected.latents)
    assert noise.latents.dtype == torch.float32


def test_label_and_guidance_have_an_influence_and_the_length_has_none():
    model = tiny_generator()

    def made(seconds: float = 0.25, **changes) -> torch.Tensor:
        sound = generate(model, seconds, sampling=replace(QUICK, **changes))
        return sound.latents

    assert not torch.allclose(made(), made(label="bell"))
    assert not torch.allclose(made(label="rain"), made(label="bell"))
    assert not torch.allclose(made(label="bell"), made(label="bell", guidance=1.0))
    assert torch.equal(made(), made(guidance=1.0))  # there is no label to be guided by
    assert torch.equal(made(0.25), made(0.249))  # both of 32 frames: the model is told no length


class LabelledWorld(torch.nn.Module):
    """The exact network where latents of label i are Gaussian around i, and of all, around 0."""

    def forward(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        time, mean = t[:, None, None, None], conditioning.label[:, None, None, None].float()
        share = (1 - time) / ((1 - time) ** 2 + time**2)
        return (x_t - mean - share * (x_t - (1 - time) * mean)) / time


@pytest.mark.parametrize("guidance", [1.0, 2.0, 8.0, 20.0])
def test_guidance_leaves_the_spread_of_latents_as_it_is(guidance: float):
    """Without rescaling the latents of 20 were 30 times as large."""
    model = tiny_generator(network=LabelledWorld())
    sampling = Sampling(label="bell", guidance=guidance)
    latents = generate(model, 1.0, sampling=sampling).latents
    assert latents.square().mean().sqrt() == pytest.approx(2**0.5, rel=0.15)  # around 1


@pytest.mark.parametrize("network", [WhiteWorld, ConstantWorld])
def test_made_latents_vary_as_the_data_does(network: type[torch.nn.Module]):
    """By default, from frame to frame and from sound to sound: within 5 % of a unit Gaussian."""
    model = tiny_generator(network=network())
    sounds = generate_together(model, 300, 0.25)
    spread = torch.stack([sound.latents for sound in sounds]).std()
    assert float(spread) == pytest.approx(1, abs=0.05)


def test_more_is_made_of_what_is_slow():
    """From white noise both were alike, and notes too short."""
    sounds = generate_together(tiny_generator(network=WhiteWorld()), 200, 0.256)
    latents = torch.stack([sound.latents for sound in sounds])
    power = torch.fft.rfft(latents).abs().square().mean(dim=(0, 1, 2))
    assert float(power[1] / power[2:-1].mean()) == pytest.approx(DEFAULT_PROFILE.slow**4, rel=0.1)


def test_a_label_is_made_as_its_recordings_are():
    """With their channels, decoded as clearly, and from noise as slow."""
    codec = tiny_codec()
    profiles = {"bell": LabelProfile(1, 0.5, 1.0), "rain": LabelProfile(2, 0.0, 1.3)}
    model = Generator(replace(diffusion_file(codec, WhiteWorld()), profiles=profiles), codec)
    bell, rain, piano = (
        generate(model, 0.256, sampling=Sampling(label)) for label in ("bell", "rain", "piano")
    )
    assert [sound.channels for sound in (bell, rain, piano)] == [1, 2, 2]
    assert [sound.clarity for sound in (bell, rain, piano)] == [0.5, 0.0, 0.0]
    assert generate(model, 0.256, channels=2, sampling=Sampling("bell")).channels == 2
    assert generate(model, 0.256, sampling=Sampling("bell"), prior=True).clarity == 0
    mixed = generate(model, 0.256, sampling=Sampling("bell:0.5,rain:0.5"))
    assert (mixed.channels, mixed.clarity) == (2, 0.25)
    slowness = []
    for label in ("bell", "rain"):
        sounds = generate_together(model, 200, 0.256, channels=1, sampling=Sampling(label))
        power = torch.fft.rfft(torch.stack([s.latents for s in sounds])).abs().square()
        slowness.append(float(power[..., 1].mean() / power[..., 2:-1].mean()))
    assert slowness == pytest.approx([1.0, 1.3**4], rel=0.15)


def test_together_is_as_alone_but_for_rounding():
    model = tiny_generator()
    sampling = replace(QUICK, label="bell:2,rain", seed=7)
    together = generate_together(model, 3, 0.5, sampling=sampling)
    for item, sound in enumerate(together):
        alone = generate(model, 0.5, sampling=replace(sampling, seed=7 + item))
        torch.testing.assert_close(sound.latents, alone.latents, atol=1e-4, rtol=1e-4)
    assert not torch.isclose(together[0].latents, together[1].latents).all()


def test_labels_in_shares():
    labels = ("bell", "piano", "rain", "a,b:2")
    assert parse_mixture(None, labels, "tiny") == ()
    assert parse_mixture("piano", labels, "tiny") == ((2, 1.0),)
    assert parse_mixture("a,b:2", labels, "tiny") == ((4, 1.0),)
    assert parse_mixture("rain:3, bell:1", labels, "tiny") == ((3, 0.75), (1, 0.25))
    assert parse_mixture("rain,bell,rain", labels, "tiny") == ((3, 2 / 3), (1, 1 / 3))
    for wrong in ("dog", "rain:0.5,dog:0.5", "rain,", "", ":1"):
        with pytest.raises(ConfigError, match="does not know the label"):
            parse_mixture(wrong, labels, "tiny")
    for wrong in ("rain:0", "rain:-1,bell", "rain:much", "rain:inf", "rain:nan", "rain:"):
        with pytest.raises(ConfigError, match="expected a number above 0"):
            parse_mixture(wrong, labels, "tiny")


def test_a_sound_to_be_like():
    model = tiny_generator()
    torch.manual_seed(0)
    like = Sound(1 + torch.randn(2, 4, 300), 16000, 2, 300 * 128)
    made = generate(model, 0.256, sampling=QUICK, like=like)
    torch.testing.assert_close(made.latents.mean(2), like.latents.mean(2), atol=1e-4, rtol=1e-4)
    mono = generate(model, 0.256, channels=1, sampling=QUICK, like=like)
    torch.testing.assert_close(mono.latents[0].mean(1), like.latents[0].mean(1), atol=1e-4, rtol=0)
    single = replace(like, latents=like.latents[:1], channels=1)
    with pytest.raises(LacunaError, match="1 channel to be like, and 2 to make"):
        generate(model, 0.25, sampling=QUICK, like=single)


def test_the_prior_is_a_unit_gaussian():
    sound = generate(tiny_generator(), 20.0, prior=True)
    assert sound.latents.shape == (2, 4, 2500)
    assert abs(sound.latents.mean()) < 0.03
    assert abs(sound.latents.std() - 1) < 0.03


def test_progress_counts_the_steps_of_all_windows():
    seen = []
    generate(tiny_generator(), 0.5, sampling=QUICK, progress=lambda *at: seen.append(at))
    total = seen[-1][1]
    assert seen == [(done, total) for done in range(1, total + 1)]
    assert total == 3 * QUICK.steps  # 63 frames: 32, and twice at most 24 more


@pytest.mark.parametrize("seconds", [0, -1, 10_000, float("nan"), float("inf")])
def test_impossible_lengths(seconds: float):
    with pytest.raises(LacunaError, match=f"{seconds:g} seconds.*at most 600"):
        generate(tiny_generator(), seconds)


def test_other_impossible_wishes():
    model = tiny_generator()
    with pytest.raises(ConfigError, match=r"'dog'.*bell, piano, rain"):
        generate(model, sampling=Sampling(label="dog"))
    with pytest.raises(LacunaError, match="3 channels, expected 1 to 2"):
        generate(model, channels=3)
    for wrong in (
        {"steps": 0},
        {"steps": 101},
        {"guidance": -1.0},
        {"guidance": 1e30},
        {"guidance": float("nan")},
    ):
        with pytest.raises(ConfigError, match="expected"):
            Sampling(**wrong)
    with pytest.raises(ConfigError, match=r"'heun'.*euler, midpoint, dpmpp_2m"):
        Sampling(sampler="heun")
    with pytest.raises(ConfigError, match="seed -1"):
        Sampling(seed=-1)


def test_values_that_are_not_finite_are_told():
    class Broken(torch.nn.Module):
        def forward(self, x_t, t, conditioning):
            return x_t * float("inf")

    with pytest.raises(LacunaError, match="not finite"):
        generate(tiny_generator(network=Broken()), 0.1)


def test_a_model_of_another_codec_is_refused():
    mine, other = tiny_codec(0), tiny_codec(1)
    with pytest.raises(CheckpointError) as error:
        Generator(diffusion_file(mine), other)
    assert mine.latent_id in str(error.value)
    assert other.latent_id in str(error.value)
    assert "--codec" in str(error.value)


def test_load(tmp_path: Path):
    model_path, codec_path = save_both(tmp_path)
    model = load(model_path, codec_path)
    assert model.labels == LABELS
    sound = generate(model, 0.2, sampling=QUICK)
    assert sound.latents.isfinite().all()
    with pytest.raises(CheckpointError, match=r"no such codec ships.*--codec"):
        load(model_path)
    with pytest.raises(CheckpointError, match="is a checkpoint of the codec"):
        load(codec_path, codec_path)
    with pytest.raises(CheckpointError, match="nonesuch"):
        load("nonesuch")


def test_the_front_door():
    for name in diffusion.__all__:
        assert getattr(diffusion, name).__name__ == name
    with pytest.raises(AttributeError, match="nonesuch"):
        diffusion.nonesuch  # noqa: B018
