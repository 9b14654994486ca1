"""What recordings of a label are like, as far as sampling and decoding are to follow them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from diffusion.model.mixture import Mixture

MAX_CLARITY, MAX_SLOW = 2.0, 1.5


@dataclass(frozen=True)
class LabelProfile:
    """Chosen on recordings that were trained on, by tools/calibrate_labels.py.

    Raises:
        ValueError: a value out of range.
    """

    coded_channels: int | None = None
    """As many as most of its recordings have; None if that is not known."""
    clarity: float = 0.0
    """That of made sounds (codec/network/clarity.py)."""
    slow: float = 1.1
    """How much more of the noise they are made from is slow (noise.py)."""

    def __post_init__(self) -> None:
        if self.coded_channels not in (None, 1, 2):
            raise ValueError(f"{self.coded_channels!r} coded channels, expected 1 or 2")
        for name, value, low, high in (
            ("clarity", self.clarity, 0.0, MAX_CLARITY),
            ("slow", self.slow, 1.0, MAX_SLOW),
        ):
            if not (isinstance(value, int | float) and low <= value <= high):
                raise ValueError(f"a {name} of {value!r}, expected {low:g} to {high:g}")


DEFAULT_PROFILE = LabelProfile()

Profiles = Mapping[str, LabelProfile]
"""By label; a label that is not in it has the default."""


def profile_of(mixture: Mixture, labels: Sequence[str], profiles: Profiles) -> LabelProfile:
    """That of a mixture: means by share, and channels if all of its labels agree on them."""
    found = [
        (profiles.get(labels[number - 1], DEFAULT_PROFILE), share) for number, share in mixture
    ]
    if not found:
        return DEFAULT_PROFILE
    channels = {profile.coded_channels for profile, _ in found}

    def mean(name: str) -> float:
        values = [getattr(profile, name) for profile, _ in found]
        mixed = sum(share * value for value, (_, share) in zip(values, found, strict=True))
        return min(max(mixed, min(values)), max(values))  # shares sum to 1 but for rounding

    return LabelProfile(
        channels.pop() if len(channels) == 1 else None, mean("clarity"), mean("slow")
    )


def to_json(profiles: Profiles) -> str:
    return json.dumps({label: asdict(profile) for label, profile in sorted(profiles.items())})


def from_json(text: str) -> dict[str, LabelProfile]:
    """What ``to_json`` wrote.

    Raises:
        ValueError: anything else.
    """
    stored = json.loads(text)
    if not isinstance(stored, dict):
        raise ValueError(f"its profiles are {type(stored).__name__}, expected one for each label")
    try:
        return {label: LabelProfile(**values) for label, values in stored.items()}
    except TypeError as error:
        raise ValueError(f"its profiles: {error}") from None
