"""Sinusoids from peaks: their level, frequency and phase, and how they meet at an anchor."""

import math

import pytest
import torch
import torch.nn.functional as F

from codec.network.config import FRAME
from codec.network.sinusoids import (
    EASE,
    HOP,
    WINDOW,
    Peaks,
    _phases,
    find_peaks,
    follow,
    write_spectrum,
)
from codec.network.stft import inverse_stft
from codec.network.views import analyze

RATE = 44100
MEDIUM_HOP = 1024
BINS = 256


ANCHOR_EVERY = 128
FREE = 1
"""A place after which no anchor comes near."""


def waveform(peaks: Peaks, births: torch.Tensor, first_frame: int = FREE) -> torch.Tensor:
    tracks = follow(peaks, MEDIUM_HOP, RATE, births, first_frame, ANCHOR_EVERY)
    spectra = F.pad(write_spectrum(tracks, RATE, BINS), (0, WINDOW // 2 + 1 - BINS))
    return inverse_stft(spectra, torch.hann_window(WINDOW), HOP)[0]


def chord(frames: int) -> Peaks:
    frequency = torch.tensor([220.0, 277.2, 329.6, 880.0]).expand(1, frames, 4)
    return Peaks(frequency, torch.full((1, frames, 4), 0.1))


def births(frames: int, count: int = 4) -> torch.Tensor:
    return torch.rand(1, frames, count, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("hz", [107.0, 440.0, 1003.7, 4000.0])
@pytest.mark.parametrize("amplitude", [0.5, 0.001])
def test_a_tone_comes_back_at_its_level_and_frequency(hz: float, amplitude: float) -> None:
    time = torch.arange(16 * FRAME, dtype=torch.float64) / RATE
    tone = (amplitude * torch.sin(2 * math.pi * hz * time)).float()[None]
    views = analyze(tone)
    peaks = find_peaks(
        views.medium.flatten(1, 2), views.medium_offset.flatten(1, 2), WINDOW, RATE, 8
    )
    again = waveform(peaks, births(32, 8))[4 * FRAME : -4 * FRAME]
    original = tone[0, 4 * FRAME : -4 * FRAME]
    assert 20 * torch.log10(again.std() / original.std()) == pytest.approx(0, abs=0.5)
    power = torch.fft.rfft(again * torch.hann_window(len(again))).abs()
    assert int(power.argmax()) * RATE / len(again) == pytest.approx(hz, abs=2.0)


def test_a_steady_tone_has_a_steady_envelope() -> None:
    single = Peaks(torch.full((1, 40, 1), 441.3), torch.full((1, 40, 1), 0.2))
    envelope = waveform(single, births(40, 1)).unfold(0, WINDOW, HOP).std(-1)[4:-4]
    assert envelope.max() / envelope.min() < 1.02


def test_a_glide_goes_on_in_phase() -> None:
    """A tone that rises by a semitone over a second is one tone, with no gaps."""
    frames = 43
    frequency = 440 * 2 ** (torch.linspace(0, 1 / 12, frames))[None, :, None]
    glide = Peaks(frequency, torch.full((1, frames, 1), 0.2))
    envelope = waveform(glide, births(frames, 1)).unfold(0, WINDOW, HOP).std(-1)[4:-4]
    assert envelope.max() / envelope.min() < 1.05


def test_peaks_that_jump_begin_anew_and_fade() -> None:
    frequency = torch.full((1, 20, 1), 400.0)
    frequency[:, 10:] = 1500.0
    peaks = Peaks(frequency, torch.full((1, 20, 1), 0.2))
    tracks = follow(peaks, MEDIUM_HOP, RATE, births(20, 1), FREE, ANCHOR_EVERY)
    total = tracks.amplitude.sum(-1)
    assert total.max() <= 0.2 + 1e-6
    assert total.min() > 0.19  # one fades out as the other fades in


def test_no_step_where_two_decoders_meet() -> None:
    frames, seam, halo = 64, 32, 16
    whole = waveform(chord(frames), births(frames), -seam)
    left = waveform(chord(seam + halo), births(frames)[:, : seam + halo], -seam)
    right = waveform(chord(frames - seam + halo), births(frames)[:, seam - halo :], -halo)
    joined = torch.cat([left[: seam * MEDIUM_HOP], right[halo * MEDIUM_HOP :]])
    assert (joined - whole).abs().max() < 0.02  # of an amplitude of 0.4
    middle = joined.unfold(0, WINDOW, HOP).std(-1)[4:-4]
    free = waveform(chord(frames), births(frames)).unfold(0, WINDOW, HOP).std(-1)[4:-4]
    assert middle.min() > 0.98 * free.min()
    assert middle.max() < 1.02 * free.max()


def test_without_an_anchor_they_would_not_meet() -> None:
    """What the test above would see: phases that were left to themselves differ."""
    frames, seam, halo = 64, 32, 16
    left = waveform(chord(seam + halo), births(frames)[:, : seam + halo])
    right = waveform(chord(frames - seam + halo), births(frames)[:, seam - halo :])
    joined = torch.cat([left[: seam * MEDIUM_HOP], right[halo * MEDIUM_HOP :]])
    whole = waveform(chord(frames), births(frames))
    assert (joined - whole).abs().max() > 0.1


def by_a_loop(
    births: torch.Tensor, previous: torch.Tensor, continues: torch.Tensor, advance: torch.Tensor
) -> torch.Tensor:
    """Phases in turns, frame after frame; each argument is (frames, count)."""
    phases, errors = [births[0]], {}
    for frame in range(1, len(births)):
        reached = phases[-1][previous[frame - 1]] + advance[frame - 1]
        phases.append(torch.where(continues[frame - 1], reached, births[frame]))
        if frame % ANCHOR_EVERY == 0:
            error = births[frame] - reached
            errors[frame] = error - error.round()
            phases[frame] = births[frame]
    for anchor, error in errors.items():
        for back in range(1, EASE):
            frame = anchor - back
            led = error * continues[frame]
            error = torch.zeros_like(error).index_add(0, previous[frame], led)
            phases[frame] = phases[frame] + error * (1 - back / EASE)
    return torch.stack(phases)


def test_phases_are_those_of_a_loop() -> None:
    """Tracks begin, end and change places; the first one goes on through all anchors."""
    frames, count = 3 * ANCHOR_EVERY, 8
    torch.manual_seed(0)
    orders = [F.pad(1 + torch.randperm(count - 1), (1, 0)) for _ in range(frames - 1)]
    previous = torch.stack(orders)
    continues = torch.rand(frames - 1, count) > 0.02
    continues[:, 0] = True
    advance, drawn = torch.rand(frames - 1, count) - 0.5, births(frames, count)
    expected = by_a_loop(drawn[0].double(), previous, continues, advance.double())
    place = torch.arange(frames)
    phases = _phases(drawn, previous[None], continues[None], advance[None], place, ANCHOR_EVERY)
    difference = phases[0] - expected
    assert (difference - difference.round()).abs().max() < 1e-5


def test_noise_and_silence_make_no_track_loud() -> None:
    silence = analyze(torch.zeros(1, 8 * FRAME))
    peaks = find_peaks(
        silence.medium.flatten(1, 2), silence.medium_offset.flatten(1, 2), WINDOW, RATE, 8
    )
    assert peaks.amplitude.max() == 0
