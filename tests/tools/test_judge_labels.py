"""What made latents have in common."""

from __future__ import annotations

import judge_labels as tool
import pytest
import torch


def test_the_seed_is_told_from_the_label() -> None:
    torch.manual_seed(0)
    labels, seeds = torch.randn(3, 1, 2, 4, 500), torch.randn(1, 2, 2, 4, 500)
    of_seed, of_label = tool.in_common([list(one) for one in labels + 2 * seeds])
    assert (len(of_seed), len(of_label)) == (6, 3)
    assert of_seed == pytest.approx([0.8] * 6, abs=0.05)
    assert of_label == pytest.approx([0.2] * 3, abs=0.05)
