"""What a user asks for: a bit rate, a quality, a ceiling for every block, and how long to look."""

from __future__ import annotations

from dataclasses import dataclass

from codec.errors import RateError

DEFAULT_KBPS_PER_CHANNEL = 3.0
SHORT_SECONDS = 5.0
"""In shorter clips a file's fixed parts alone exceed a low rate, and the less time there is, the
less of them counts."""
LEAST_SECONDS = 0.25
"""A shorter clip may take the payload of this one."""

MAX_SEARCH = 10_000
"""Steps; more is a slip of the finger."""


@dataclass(frozen=True)
class RateTarget:
    """What a user asked for. Without anything it is 3 kbps per channel.

    Raises:
        RateError: a rate that is not above 0, a quality outside 0..10, or both of them, or a
            search of less than no steps or far too many.
    """

    kbps: float | None = None
    """Ceiling for the average of the whole file."""
    quality: float | None = None
    """One step for every block: 0 for the coarsest useful one, 10 for the finest."""
    max_kbps: float | None = None
    """Ceiling for each block; blocks that exceed it get a coarser step."""
    search: int | None = None
    """Steps of gradient descent for latents that say more (codec/model/search.py); 0 is none."""

    def __post_init__(self) -> None:
        for name, rate in (("--kbps", self.kbps), ("--max-kbps", self.max_kbps)):
            if rate is not None and not rate > 0:
                raise RateError(
                    f"{name} {rate:g} is not a bit rate; expected a number above 0, such as 6"
                )
        if self.quality is not None and not 0 <= self.quality <= 10:
            raise RateError(f"--quality {self.quality:g}, expected 0 (smallest) to 10 (best)")
        if self.quality is not None and self.kbps is not None:
            raise RateError(
                f"--kbps {self.kbps:g} and --quality {self.quality:g} contradict each other; "
                f"give one, or --quality with --max-kbps"
            )
        if self.search is not None and not 0 <= self.search <= MAX_SEARCH:
            raise RateError(f"--search {self.search}, expected 0 (off) to {MAX_SEARCH:,} steps")

    def kbps_per_channel(self, channels: int) -> float:
        return DEFAULT_KBPS_PER_CHANNEL if self.kbps is None else self.kbps / channels

    def budget(self, channels: int, seconds: float, fixed: int) -> float:
        """Bytes that the whole file may have, of which ``fixed`` are no payload."""
        kbps = self.kbps_per_channel(channels) * channels
        return kbps * 1000 * max(seconds, LEAST_SECONDS) / 8 + _not_counted(seconds, fixed)


def counted_kbps(size: float, seconds: float, fixed: int) -> float:
    """The rate whose budget is ``size`` bytes."""
    counted = max(size - _not_counted(seconds, fixed), 0.0)
    return counted * 8 / max(seconds, LEAST_SECONDS) / 1000


def _not_counted(seconds: float, fixed: int) -> float:
    """All fixed bytes of a clip without length, none from SHORT_SECONDS on."""
    return fixed * max(0.0, 1 - seconds / SHORT_SECONDS)
