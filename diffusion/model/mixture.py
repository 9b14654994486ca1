"""What a person writes for a label: one of the model's, or several in shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from codec.errors import ConfigError

Mixture = tuple[tuple[int, float], ...]
"""Numbers of labels as in ``Conditioning`` and their shares, which sum to 1; empty for none."""


def parse_mixture(text: str | None, labels: Sequence[str], model: str) -> Mixture:
    """``rain`` or ``rain:0.7,fire:0.3``; shares may be any numbers above 0, and are 1 if left out.

    Args:
        text: a label of its own if it is one, whatever signs are in it.
        labels: those of the model with the name ``model``.

    Raises:
        ConfigError: an unknown label; the message lists the known ones. Or a bad share.
    """
    if text is None:
        return ()
    if text in labels:
        return ((1 + labels.index(text), 1.0),)
    shares: dict[int, float] = {}
    for part in text.split(","):
        name, colon, number = part.rpartition(":") if part not in labels else (part, "", "")
        name = (name if colon else part).strip()
        if name not in labels:
            raise ConfigError(
                f"the diffusion model '{model}' does not know the label '{name}'; expected one "
                f"of: {', '.join(labels) or 'none, it was trained without'}; or several in "
                f"shares, as 'A:0.7,B:0.3'"
            )
        try:
            share = float(number) if colon else 1.0
        except ValueError:
            share = math.nan
        if not 0 < share < math.inf:
            raise ConfigError(
                f"the share '{number}' of the label '{name}', expected a number above 0, as in "
                f"'A:0.7,B:0.3'"
            )
        index = 1 + labels.index(name)
        shares[index] = shares.get(index, 0.0) + share
    total = sum(shares.values())
    return tuple((index, share / total) for index, share in shares.items())
