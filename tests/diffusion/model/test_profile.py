"""Profiles of labels: what is stored, mixed and refused."""

from __future__ import annotations

import pytest

from diffusion.model import profile
from diffusion.model.mixture import parse_mixture
from diffusion.model.profile import DEFAULT_PROFILE, LabelProfile, profile_of

LABELS = ("bell", "piano", "rain")
PROFILES = {"bell": LabelProfile(1, 1.0, 1.3), "piano": LabelProfile(2, 0.5, 1.0)}


def test_what_is_written_comes_back() -> None:
    assert profile.from_json(profile.to_json(PROFILES)) == PROFILES
    assert profile.from_json("{}") == {}


def test_a_mixture_lies_between_its_labels() -> None:
    assert profile_of((), LABELS, PROFILES) == DEFAULT_PROFILE
    assert profile_of(((1, 1.0),), LABELS, PROFILES) == PROFILES["bell"]
    mixed = profile_of(((1, 0.4), (2, 0.6)), LABELS, PROFILES)
    assert mixed.coded_channels is None
    assert (mixed.clarity, mixed.slow) == pytest.approx((0.7, 1.12))
    unknown = profile_of(((3, 1.0),), LABELS, PROFILES)
    assert unknown == DEFAULT_PROFILE


def test_many_labels_at_the_limits_of_a_profile() -> None:
    """Six times a sixth is less than 1."""
    labels = tuple("abcdef")
    for limit in (LabelProfile(1, 2.0, 1.0), LabelProfile(1, 0.0, 1.5)):
        mixture = parse_mixture(",".join(labels), labels, "model")
        assert profile_of(mixture, labels, dict.fromkeys(labels, limit)) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "list, expected one for each label"),
        ('{"bell": {"loud": 1}}', "unexpected keyword argument 'loud'"),
        ('{"bell": 3}', "must be a mapping"),
        ('{"bell": {"clarity": 7}}', "a clarity of 7, expected 0 to 2"),
        ('{"bell": {"clarity": NaN}}', "a clarity of nan"),
        ('{"bell": {"clarity": "x"}}', "a clarity of 'x'"),
        ('{"bell": {"slow": 0.5}}', "a slow of 0.5, expected 1 to 1.5"),
        ('{"bell": {"coded_channels": 3}}', "3 coded channels, expected 1 or 2"),
        ('{"bell": {"coded_channels": 1.5}}', "1.5 coded channels, expected 1 or 2"),
        ("{", "Expecting"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile.from_json(text)
