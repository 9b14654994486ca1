"""What is held out: recordings, whole ones, and never a label's last."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import LacunaError
from diffusion.latents.sets import FORMAT, Clip, Index, LatentSet, Statistics
from diffusion.training.held_out import split_recordings


def stored(files: list[str], levels: int = 1) -> LatentSet:
    """A set of recordings with these labels, each at several levels, without any latents."""
    clips = tuple(
        Clip(
            path=f"{number:03d}.wav",
            shard=0,
            offset=0,
            frames=10,
            coded_channels=1,
            seconds=1.0,
            label=label,
            gain_db=-5.0 * level,
        )
        for number, label in enumerate(files)
        for level in range(levels)
    )
    index = Index(
        format=FORMAT,
        codec="tiny",
        latent_id="",
        frame_rate=10.0,
        latent_dim=4,
        coded_channels=2,
        left_right=True,
        shards=(),
        statistics=Statistics(mean=(), std=(), sigma=()),
        clips=clips,
    )
    return LatentSet(Path("stored"), index, [])


@given(files=st.lists(st.sampled_from(["", "rain", "dog", "rock"]), min_size=2, max_size=90))
def test_no_label_vanishes_and_no_recording_is_in_both(files: list[str]):
    latents = stored(files, levels=3)
    if len(files) == len(set(files)):
        with pytest.raises(LacunaError, match=r"no label in 'stored' has two recordings.*--valid"):
            split_recordings(latents)
        return
    kept, left_out = split_recordings(latents)
    assert {clip.label for clip in kept.clips} == set(files)
    assert not {clip.path for clip in kept.clips} & {clip.path for clip in left_out.clips}
    assert len(kept.clips) + len(left_out.clips) == 3 * len(files)
    assert 3 <= len(left_out.clips) <= 3 * (1 + len(files) // 20)


def test_a_rare_label_between_others_stays():
    """In folders, the first of every 20 clips was left out, whatever it was."""
    kept, left_out = split_recordings(stored([*["rare"], *39 * ["rain"], *["odd"], *39 * ["rock"]]))
    assert kept.labels == ("odd", "rain", "rare", "rock")
    assert len(left_out.clips) == 4
    assert left_out.labels == ("rain", "rock")


def test_one_recording_at_many_levels_is_one_recording():
    with pytest.raises(LacunaError, match="--valid"):
        split_recordings(stored(["rain"], levels=5))
