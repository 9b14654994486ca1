"""The controls have the original's levels and nothing else of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from codec_helpers import music

from codec.evaluation.codecs.controls import CONTROLS, Control
from codec.metrics.octaves import level_error, si_sdr_per_octave


@pytest.mark.parametrize("name", list(CONTROLS))
def test_levels_come_near_and_the_waveform_does_not(name: str):
    original = music(2.0, 44_100, 2)
    control = Control(name)(original, 44_100).waveform
    assert control.shape == original.shape
    x, y = torch.from_numpy(control), torch.from_numpy(original)
    assert np.abs(level_error(x, y)).max() < 3
    assert max(ratio for ratio in si_sdr_per_octave(x, y) if ratio == ratio) < 0


@pytest.mark.parametrize("name", list(CONTROLS))
def test_a_control_is_the_same_each_time_at_any_rate_and_length(name: str):
    for samples in (1, 1500, 20_011):
        original = music(1.5, 16_000, 1)[:, :samples]
        control = Control(name)(original, 16_000).waveform
        assert control.shape == original.shape
        np.testing.assert_array_equal(control, Control(name)(original, 16_000).waveform)


def test_silence_stays_silent():
    silence = np.zeros((1, 44_100), np.float32)
    for name in CONTROLS:
        assert np.abs(Control(name)(silence, 44_100).waveform).max() < 1e-3
