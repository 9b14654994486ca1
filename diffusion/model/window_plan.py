"""Which windows a sound is made in, longer than the network sees at once.

The model sees at most ``window_frames`` frames at once. Longer sounds are made window by window,
and each window is given what is known in it already, as in inpainting:

    known      |#####|                                  given, or made by earlier windows
    window 1   |#####~~~~~~~~~~~~~|
    window 2              |#######~~~~~~~~~~~~~|        the overlap is what carries on
"""

from __future__ import annotations

from torch import Tensor

OVERLAP = 4
"""A window shares at least a 4th of its frames with what is known on either side of a gap."""


def plan_windows(known: Tensor, window: int) -> list[tuple[int, int]]:
    """Spans (first, last) of at most ``window`` frames in which everything unknown gets made.

    A gap that fits is made in one piece, in the middle of its window. A longer one is made from
    left to right, and what remains for the last window is long enough to meet what follows.

    Args:
        known: (frames,) bool.
    """
    known = known.cpu().clone()
    frames, overlap = len(known), window // OVERLAP
    windows = []
    while not known.all():
        first = int((~known).nonzero()[0])
        following = known[first:].nonzero()
        last = first + int(following[0]) if len(following) else frames
        left = overlap if first > 0 else 0
        right = overlap if last < frames else 0
        gap = last - first
        if gap <= window - left - right:
            start = max(0, min(first - (window - gap) // 2, frames - window))
            stop = min(start + window, frames)
        else:
            stop = first + min(window - left, gap - right)
            start = max(0, stop - window)
        windows.append((start, stop))
        known[start:stop] = True
    return windows
