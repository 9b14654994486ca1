"""Which recordings a run without a validation set leaves out, to validate on."""

from __future__ import annotations

from collections import defaultdict

from codec.errors import LacunaError
from diffusion.latents.sets import Clip, LatentSet

EVERY = 20
"""One recording of so many is held out."""


def split_recordings(latents: LatentSet) -> tuple[LatentSet, LatentSet]:
    """To train on, and to validate on: every 20th recording, label by label.

    A recording goes with all clips of it, that is at all levels. The last recording of a label is
    always trained on, so that no label vanishes.

    Raises:
        LacunaError: no label has two recordings.
    """
    recordings: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in latents.clips:
        recordings[clip.label][clip.path].append(clip)
    left = {label: len(paths) for label, paths in recordings.items()}
    chosen: set[str] = set()
    due = 0  # so many recordings were passed, less 20 for each one held out
    for label in sorted(recordings):
        for path in recordings[label]:
            if due >= 0 and left[label] > 1:
                chosen.add(path)
                left[label] -= 1
                due -= EVERY
            due += 1
    if not chosen:
        raise LacunaError(
            f"no label in '{latents.folder}' has two recordings, one to train on and one to "
            f"validate on; name another set with --valid"
        )
    return (
        latents.only(clip for clip in latents.clips if clip.path not in chosen),
        latents.only(clip for clip in latents.clips if clip.path in chosen),
    )
