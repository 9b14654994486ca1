"""What made latents have in common, and what label and seed explain of made clips."""

from __future__ import annotations

from pathlib import Path

import judge_labels as tool
import numpy as np
import pytest
import torch

from codec import audio
from codec.evaluation.evenly import evenly


def test_the_seed_is_told_from_the_label() -> None:
    torch.manual_seed(0)
    labels, seeds = torch.randn(3, 1, 2, 4, 500), torch.randn(1, 2, 2, 4, 500)
    of_seed, of_label = tool.in_common([list(one) for one in labels + 2 * seeds])
    assert (len(of_seed), len(of_label)) == (6, 3)
    assert of_seed == pytest.approx([0.8] * 6, abs=0.05)
    assert of_label == pytest.approx([0.2] * 3, abs=0.05)


def test_shares_of_the_variance() -> None:
    """Twice the variance from the label as from the seed, and once that which neither explains."""
    rng = np.random.default_rng(0)
    shapes = ((8, 1), (1, 8), (8, 8))
    label, seed, both = (rng.standard_normal((*shape, 3000)) for shape in shapes)
    scale = np.geomspace(1e-3, 1e3, 3000)  # of no account
    shares = tool.explained(scale * (2**0.5 * label + seed + both) + 5)
    # Of 8 x 8 random numbers a label's or a seed's means have an eighth of the variance.
    expected = [(7 / 8 * (share + 1 / 8)) for share in (2, 1)]
    assert shares == pytest.approx(np.array(expected) / np.sum([*expected, 49 / 64]), abs=0.03)


def test_long_files_count_by_their_length(tmp_path: Path) -> None:
    """As windows are drawn: a loud minute and a soft one are half of the pieces each."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1, 70_000)).astype(np.float32)
    for name, parts in (("short", [0.1]), ("long", [0.01, 0.01, 0.01, 0.1])):
        sound = np.concatenate([part * noise for part in parts], axis=1)
        audio.write(tmp_path / f"{name}.flac", sound, 44100)
    seconds = 70_000 / 44100
    middle, pieces = tool.of_file(tmp_path / "long.flac", seconds)
    assert [round(float(piece.std()), 2) for piece in pieces] == [0.01, 0.01, 0.01, 0.1]
    assert len(middle) == 70_000
    assert [len(x) for x in tool.of_file(tmp_path / "short.flac", 5.0)[1]] == [70_000]
    assert len(evenly(pieces, 3)) == 3
