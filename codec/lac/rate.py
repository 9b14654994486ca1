"""What a user asks for: a bit rate, a quality, a ceiling for every block."""

from __future__ import annotations

from dataclasses import dataclass

from codec.errors import RateError

DEFAULT_KBPS_PER_CHANNEL = 3.0
SHORTEST_SECONDS = 5.0
"""A shorter clip may use the bytes of this one: a file's fixed parts alone exceed any rate."""


@dataclass(frozen=True)
class RateTarget:
    """What a user asked for. Without anything it is 3 kbps per channel.

    Raises:
        RateError: a rate that is not above 0, a quality outside 0..10, or both of them.
    """

    kbps: float | None = None
    """Ceiling for the average of the whole file."""
    quality: float | None = None
    """One step for every block: 0 for the coarsest useful one, 10 for the finest."""
    max_kbps: float | None = None
    """Ceiling for each block; blocks that exceed it get a coarser step."""

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

    def kbps_per_channel(self, channels: int) -> float:
        return DEFAULT_KBPS_PER_CHANNEL if self.kbps is None else self.kbps / channels

    def budget(self, channels: int, seconds: float) -> float:
        """Bytes that the whole file may have."""
        kbps = self.kbps_per_channel(channels) * channels
        return kbps * 1000 * max(seconds, SHORTEST_SECONDS) / 8
