"""Width and coherence of independent, identical and opposite channels."""

from __future__ import annotations

import pytest
import torch
from sounds import noise

from codec.metrics.stereo import LIMIT_DB, stereo, stereo_change

INDEPENDENT = torch.stack([noise(0), noise(1)])
IDENTICAL = torch.stack([noise(0), noise(0)])
OPPOSITE = torch.stack([noise(0), -noise(0)])


@pytest.mark.parametrize(
    ("sound", "ratio", "coherence"),
    [(INDEPENDENT, 0.0, 0.0), (IDENTICAL, -LIMIT_DB, 1.0), (OPPOSITE, LIMIT_DB, -1.0)],
)
def test_hand_made_images(sound: torch.Tensor, ratio: float, coherence: float):
    for image in stereo(sound):
        assert image is not None
        assert image.side_over_mid == pytest.approx(ratio, abs=0.3)
        assert image.coherence == pytest.approx(coherence, abs=0.03)


def test_a_side_that_is_half_as_loud_is_6_db_narrower():
    mid, side = INDEPENDENT
    wide, narrow = (torch.stack([mid + gain * side, mid - gain * side]) for gain in (1.0, 0.5))
    for change in stereo_change(narrow, wide):
        assert change is not None
        assert change.side_over_mid == pytest.approx(-6.02, abs=0.01)
        assert change.coherence == pytest.approx(0.6, abs=0.05)


def test_a_silent_band_has_no_image_and_mono_none_at_all():
    assert stereo(torch.zeros(2, 44100)) == [None, None, None]
    assert stereo_change(INDEPENDENT, torch.zeros_like(INDEPENDENT)) == [None, None, None]
    with pytest.raises(ValueError, match="mono has no image"):
        stereo(INDEPENDENT[:1])
