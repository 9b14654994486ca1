"""Who is ahead, and can the measure tell? Paired differences, and controls that must not win.

Clips differ more than codecs do, so codecs are compared file by file: the difference counts as one
where the 95 % interval of its mean leaves zero out. And a measure of quality that puts a control
(controls.py) above Opus at 12 kbps is blind to what the control lacks: it ranks nothing in that
class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from codec.evaluation.codecs.controls import CONTROLS
from codec.evaluation.codecs.measures import QUALITY, TEXTURE_DISTANCES
from codec.evaluation.estimate import Estimate

MIN_FILES = 4
"""Fewer files get no interval."""
RESAMPLES = 4999
YARDSTICK = ("opus", 12.0)
"""What no control may beat."""
COMPARED = {**QUALITY, **TEXTURE_DISTANCES}

Verdict = Literal["ahead", "even", "behind"]


class Measured(Protocol):
    """A file through a codec at a rate."""

    @property
    def file(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def codec(self) -> str: ...
    @property
    def asked_kbps(self) -> float | None: ...
    @property
    def values(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Comparison:
    """Lacuna at one rate and another codec at one rate, by one measure, in one class."""

    kind: str
    kbps: float
    peer: str
    peer_kbps: float
    measure: str
    files: int
    gain: Estimate
    """Mean difference, positive where Lacuna is better, and its 95 % interval."""

    @property
    def verdict(self) -> Verdict:
        """Even where the interval holds zero."""
        if self.gain.low > 0:
            return "ahead"
        return "behind" if self.gain.high < 0 else "even"


def interval(values: np.ndarray) -> Estimate:
    """The mean of (files,) and its 95 % interval, by the BCa bootstrap (Efron 1987).

    With five to ten files it is still somewhat too narrow: a bootstrap knows no more recordings
    than it has seen.

    Raises:
        ValueError: fewer than MIN_FILES values.
    """
    from scipy.stats import bootstrap

    if len(values) < MIN_FILES:
        raise ValueError(f"got {len(values)} values, expected {MIN_FILES} or more")
    mean = float(np.mean(values))
    if np.ptp(values) < 1e-12 * max(1.0, abs(mean)):
        return Estimate(mean, mean, mean)
    reach = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
        vectorized=True,
    ).confidence_interval
    return Estimate(mean, float(reach.low), float(reach.high))


def compare(rows: Sequence[Measured]) -> list[Comparison]:
    """Lacuna at each rate with every other codec at each rate, controls left out."""
    results = []
    for kind in dict.fromkeys(row.kind for row in rows):
        systems = dict.fromkeys(
            (row.codec, row.asked_kbps) for row in rows if row.asked_kbps is not None
        )
        own = [kbps for codec, kbps in systems if codec == "lacuna" and kbps is not None]
        peers = [(codec, kbps) for codec, kbps in systems if codec != "lacuna"]
        for kbps in own:
            for peer, peer_kbps in peers:
                for name, measure in COMPARED.items():
                    mine = _by_file(rows, kind, "lacuna", kbps, name)
                    other = _by_file(rows, kind, peer, peer_kbps, name)
                    files = sorted(mine.keys() & other.keys())
                    if len(files) < MIN_FILES or peer_kbps is None:
                        continue
                    sign = -1 if measure.better == "lower" else 1
                    gains = sign * np.array([mine[file] - other[file] for file in files])
                    results.append(
                        Comparison(kind, kbps, peer, peer_kbps, name, len(files), interval(gains))
                    )
    return results


def blind(rows: Sequence[Measured]) -> dict[tuple[str, str], str]:
    """(class, measure of quality) -> why it cannot rank there.

    Empty without the YARDSTICK: then nothing is known.
    """
    reasons = {}
    for kind in dict.fromkeys(row.kind for row in rows):
        for name, measure in QUALITY.items():
            yardstick = _by_file(rows, kind, *YARDSTICK, name)
            sign = -1 if measure.better == "lower" else 1
            for control in CONTROLS:
                values = _by_file(rows, kind, control, None, name)
                files = sorted(values.keys() & yardstick.keys())
                if not files:
                    continue
                means = [float(np.mean([v[f] for f in files])) for v in (values, yardstick)]
                if sign * means[0] > sign * means[1]:
                    reasons[kind, name] = (
                        f"{kind}: {measure.label} ranks the control {control} "
                        f"({means[0]:.2f}) above {YARDSTICK[0]} at {YARDSTICK[1]:g} kbps "
                        f"({means[1]:.2f}): blind here, no ground for a claim"
                    )
                    break
    return reasons


def _by_file(
    rows: Sequence[Measured], kind: str, codec: str, kbps: float | None, name: str
) -> dict[str, float]:
    return {
        row.file: row.values[name]
        for row in rows
        if (row.kind, row.codec, row.asked_kbps) == (kind, codec, kbps) and name in row.values
    }
