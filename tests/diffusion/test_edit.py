"""Editing: what changes, what must not, and arithmetic with latents."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from generation_helpers import (
    ConstantWorld,
    SilentWorld,
    WhiteWorld,
    tiny_codec,
    tiny_generator,
    tone,
    tone_sound,
)

from codec.errors import AudioError, ConfigError, LacunaError
from codec.model.sound import Sound, decode_waveform, encode_waveform
from diffusion.edit import blend, extend, inpaint, interpolate, keep_original, vary
from diffusion.generation import Sampling

QUICK = Sampling(steps=2, sampler="euler")
HALO = 0.2
"""Seconds: more than the receptive field of the tiny decoder, and than the resampler's memory."""


def constant_sound(frames: int = 150) -> Sound:
    torch.manual_seed(0)
    latents = torch.randn(2, 4, 1).expand(2, 4, frames).contiguous()
    return Sound(latents, 16000, 2, frames * 128)


def test_the_halo_is_long_enough():
    frames = tiny_codec().autoencoder.decoder.receptive_frames
    assert frames / tiny_codec().frame_rate + 0.01 < HALO


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_sounds_keep_shape_rate_and_channels(channels: int, sample_rate: int):
    sound = tone_sound(0.7, sample_rate, channels)
    assert sound.latents.shape == (channels, 4, 88)
    waveform = decode_waveform(tiny_codec(), sound)
    assert waveform.shape == (channels, round(0.7 * sample_rate))


def test_unusable_waveforms():
    for wrong in (np.zeros((1, 1, 100), np.float32), np.zeros((1, 100), np.int16)):
        with pytest.raises(AudioError, match=r"expected (floating point|\(channels, time\))"):
            encode_waveform(tiny_codec(), wrong, 16000)
    with pytest.raises(AudioError, match="none of them 0"):
        encode_waveform(tiny_codec(), np.zeros((1, 0), np.float32), 16000)
    with pytest.raises(AudioError, match="nan"):
        encode_waveform(tiny_codec(), np.full((1, 9), np.nan, np.float32), 16000)


def test_strength_zero_changes_nothing_and_one_forgets():
    model = tiny_generator()
    a, b = tone_sound(0.5, seed=0), tone_sound(0.5, seed=1)
    assert torch.equal(vary(model, a, 0.0, sampling=QUICK).latents, a.latents)
    assert torch.equal(
        vary(model, a, 1.0, sampling=QUICK).latents, vary(model, b, 1.0, sampling=QUICK).latents
    )
    half = vary(model, a, 0.5, sampling=QUICK)
    assert (half.samples, half.channels) == (a.samples, a.channels)
    assert not torch.allclose(half.latents, vary(model, b, 0.5, sampling=QUICK).latents)


def test_more_strength_leads_further_away():
    model = tiny_generator(network=WhiteWorld())
    torch.manual_seed(0)
    sound = Sound(torch.randn(2, 4, 80), 16000, 2, 80 * 128)
    distances = [
        (vary(model, sound, strength).latents - sound.latents).norm()
        for strength in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    assert all(a < b for a, b in pairwise(distances))
    assert distances[0] < 0.2 * sound.latents.norm()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [16000, 22050])
@pytest.mark.parametrize("stereo", ["left_right", "mid_side"])
def test_outside_its_regions_inpainting_changes_nothing(channels, sample_rate, stereo):
    codec = tiny_codec(stereo=stereo)
    sound = encode_waveform(codec, tone(3.0, sample_rate, channels), sample_rate)
    before = decode_waveform(codec, sound)
    regions = [(0.5, 0.7), (1.6, 2.2)]
    edited = inpaint(tiny_generator(codec), sound, regions, sampling=QUICK)
    after = decode_waveform(codec, edited)
    assert after.shape == before.shape
    time = np.arange(before.shape[1]) / sample_rate
    near = np.any([(time > a - HALO) & (time < b + HALO) for a, b in regions], axis=0)
    inside = np.any([(time > a) & (time < b) for a, b in regions], axis=0)
    assert 0.2 < near.mean() < 0.7
    assert (after - before)[:, ~near].abs().max() <= 1e-5
    assert (after - before)[:, inside].abs().mean() > 1e-3


def test_inpainting_fits_what_is_around_it():
    sound = constant_sound()
    edited = inpaint(
        tiny_generator(network=ConstantWorld()), sound, [(0.1, 0.15), (0.3, 0.9)], sampling=QUICK
    )
    assert torch.allclose(edited.latents, sound.latents, atol=1e-5)


@pytest.mark.parametrize("frames", [60, 150])
def test_without_a_label_what_is_made_is_as_loud_as_what_is_around_it(frames: int):
    """Whatever the network thinks: this one expects silence."""
    model, sound = tiny_generator(network=SilentWorld()), constant_sound(frames)
    level = sound.latents[..., :1]
    unlabelled = (
        inpaint(model, sound, [(0.2, 0.3)], sampling=QUICK).latents,
        extend(model, sound, 0.5, sampling=QUICK).latents,
    )
    for latents in unlabelled:
        torch.testing.assert_close(latents, level.expand_as(latents), atol=1e-4, rtol=1e-4)
    labelled = replace(QUICK, label="piano")
    gap = inpaint(model, sound, [(0.2, 0.3)], sampling=labelled).latents[..., 25:37]
    assert not gap.any()


def test_only_windows_with_a_region_are_sampled():
    seen = []
    sound = tone_sound(20.0, channels=1)
    inpaint(
        tiny_generator(),
        sound,
        [(3.0, 3.1), (19.95, 20.0)],
        sampling=QUICK,
        progress=lambda *at: seen.append(at),
    )
    assert len(seen) == seen[-1][1] == 2 * QUICK.steps


@pytest.mark.parametrize(
    "region", [(-1, 0.2), (0.2, 0.2), (0.3, 0.2), (0.4, 0.6), (float("nan"), 0.3)]
)
def test_regions_that_are_none(region):
    with pytest.raises(LacunaError, match=r"the region from .* within the sound's 0\.5 s"):
        inpaint(tiny_generator(), tone_sound(0.5), [region])


def test_no_region_and_too_many_channels():
    with pytest.raises(LacunaError, match="no region"):
        inpaint(tiny_generator(), tone_sound(0.5), [])
    with pytest.raises(AudioError, match=r"3 coded channels.*at most 2"):
        inpaint(tiny_generator(), tone_sound(0.5, channels=3), [(0.1, 0.2)])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_extending_keeps_what_was_there(channels: int, sample_rate: int):
    codec = tiny_codec()
    sound = tone_sound(1.003, sample_rate, channels)
    longer = extend(tiny_generator(), sound, 0.5, sampling=QUICK)
    assert longer.samples == sound.samples + round(0.5 * sample_rate)
    before, after = decode_waveform(codec, sound), decode_waveform(codec, longer)
    assert after.shape == (channels, longer.samples)
    kept = round((1.003 - HALO) * sample_rate)
    assert (after[:, :kept] - before[:, :kept]).abs().max() <= 1e-5
    assert after[:, sound.samples :].abs().mean() > 1e-4


def test_extending_carries_on():
    sound = constant_sound(70)
    longer = extend(tiny_generator(network=ConstantWorld()), sound, 1.0, sampling=QUICK)
    assert longer.latents.shape[2] == 70 + 125
    assert torch.allclose(longer.latents, sound.latents[:, :, :1].expand(2, 4, 195), atol=1e-5)


def test_extending_a_sound_of_less_than_a_frame():
    longer = extend(tiny_generator(), tone_sound(0.005), 0.1, sampling=QUICK)
    assert longer.samples == 80 + 1600


@pytest.mark.parametrize("seconds", [0, -3, 10_000, float("nan")])
def test_impossible_extensions(seconds: float):
    with pytest.raises(LacunaError, match="at most 600"):
        extend(tiny_generator(), tone_sound(0.2), seconds)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_impossible_strengths(strength: float):
    with pytest.raises(ConfigError, match=r"strength .* expected 0"):
        vary(tiny_generator(), tone_sound(0.2), strength)


def test_linear_interpolation():
    a, b = tone_sound(0.5, 44100, seed=0), tone_sound(0.3, 16000, seed=1)
    sounds = interpolate(a, b, 3, "linear")
    assert len(sounds) == 3
    for sound, weight in zip(sounds, (0.25, 0.5, 0.75), strict=True):
        expected = (1 - weight) * a.latents[:, :, :38] + weight * b.latents
        assert torch.allclose(sound.latents, expected, atol=1e-6)
        assert (sound.sample_rate, sound.samples) == (44100, 13230)
        assert decode_waveform(tiny_codec(), sound).shape == (2, 13230)


def test_spherical_interpolation_turns_and_keeps_the_size():
    a = torch.tensor([1.0, 0, 0, 0])[None, :, None].repeat(1, 1, 4)
    b = torch.tensor([0, 3.0, 0, 0])[None, :, None].repeat(1, 1, 4)
    first, second = (Sound(x, 16000, 1, 512) for x in (a, b))
    [middle] = interpolate(first, second)
    expected = torch.tensor([2**0.5, 2**0.5, 0, 0])
    assert torch.allclose(middle.latents[0, :, 2], expected)
    third, _ = interpolate(first, second, 2)
    angle = torch.atan2(third.latents[0, 1, 0], third.latents[0, 0, 0])
    assert float(angle) == pytest.approx(np.pi / 6)


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0, 2.5])
def test_spherical_interpolation_of_parallel_latents_is_finite(factor: float):
    sound = tone_sound(0.2)
    other = replace(sound, latents=factor * sound.latents)
    for between in interpolate(sound, other, 4):
        assert between.latents.isfinite().all()
        assert between.latents.abs().max() <= 2.5 * sound.latents.abs().max() + 1e-5
    if factor > 0:
        [middle] = interpolate(sound, other)
        expected = (1 + factor) / 2 * sound.latents
        assert torch.allclose(middle.latents, expected, atol=1e-3)


def test_blending_is_arithmetic():
    a, b, c = (tone_sound(seconds, seed=i) for i, seconds in enumerate((0.5, 0.4, 0.6)))
    mixed = blend([(1.0, a), (-1.0, b), (1.0, c)])
    assert mixed.samples == 6400
    assert torch.allclose(
        mixed.latents, (a.latents[:, :, :50] - b.latents + c.latents[:, :, :50]), atol=1e-6
    )
    assert torch.allclose(blend([(0.5, a), (0.5, a)]).latents, a.latents)


def test_what_cannot_be_mixed():
    mono, stereo = tone_sound(0.2, channels=1), tone_sound(0.2, channels=2)
    with pytest.raises(LacunaError, match="1 and 2 channels"):
        interpolate(mono, stereo)
    with pytest.raises(LacunaError, match="1 and 2 channels"):
        blend([(1.0, mono), (1.0, stereo)])
    with pytest.raises(LacunaError, match="nothing to blend"):
        blend([])
    with pytest.raises(LacunaError, match="count of 0"):
        interpolate(mono, mono, 0)
    with pytest.raises(ConfigError, match=r"'cubic'.*spherical, linear"):
        interpolate(mono, mono, 1, "cubic")


def pieces(waveform: np.ndarray, *sizes: int) -> list[np.ndarray]:
    return np.split(waveform, np.cumsum(sizes), axis=1)


def test_the_original_is_kept_outside_the_regions():
    original, decoded = tone(1.0, 16000, 2, seed=0), tone(1.5, 16000, 2, seed=1)
    regions = [(0.25, 0.5), (1.0, 1.5)]
    joined = np.concatenate(
        list(
            keep_original(
                pieces(original, 5, 9000), pieces(decoded, 3000, 1, 17000), regions, 16000
            )
        ),
        axis=1,
    )
    assert joined.shape == decoded.shape
    assert np.array_equal(joined[:, 4000:8000], decoded[:, 4000:8000])
    assert np.array_equal(joined[:, 16000:], decoded[:, 16000:])
    fade = 320  # 20 ms at most
    for begin, end in ((0, 4000 - fade), (8000 + fade, 16000 - fade)):
        assert np.array_equal(joined[:, begin:end], original[:, begin:end])
    fades = np.r_[4000 - fade : 4000, 8000 : 8000 + fade, 16000 - fade : 16000]
    low = np.minimum(original[:, fades], decoded[:, fades])
    high = np.maximum(original[:, fades], decoded[:, fades])
    assert (joined[:, fades] >= low - 1e-6).all()
    assert (joined[:, fades] <= high + 1e-6).all()


def test_cross_fades_are_even():
    silence, full = np.zeros((1, 1600), np.float32), np.ones((1, 1600), np.float32)
    [joined] = keep_original([silence], [full], [(0.05, 0.1)], 16000)
    rise = np.diff(joined[0, :800])
    assert rise.min() >= 0
    assert rise.max() < 1 / 160  # at least 10 ms
    assert np.flatnonzero(rise)[0] > 800 - 320  # at most 20 ms
    assert joined[0, -1] == 1
