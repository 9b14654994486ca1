"""Recordings that are the same, or cut from the same one, by hash and by fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.measure import WORDS_PER_SECOND

MAX_ERRORS = 0.3  # share of bits; Haitsma and Kalker (2002) take 0.35
MIN_OVERLAP = 0.7  # of the shorter one
MIN_FRAMES = 60  # 2.8 s
_KEY = 0x03FFFFFF  # the 26 lower bands: words that agree in these are compared at that offset
_NEIGHBORS = 6  # such words looked at for each; what is more common says little


@dataclass(frozen=True)
class Match:
    """Recording `second` is heard in recording `first`, beginning `seconds` into it."""

    first: int
    second: int
    seconds: float


def find_matches(fingerprints: Sequence[NDArray[np.uint32]]) -> list[Match]:
    """All pairs that share most of the shorter one's bits at one offset; first < second."""
    matches: dict[tuple[int, int], Match] = {}
    for first, second, offset in _candidates(fingerprints):
        if (first, second) in matches:
            continue
        if _same(fingerprints[first], fingerprints[second], offset):
            matches[first, second] = Match(first, second, offset / WORDS_PER_SECOND)
    return list(matches.values())


def _candidates(fingerprints: Sequence[NDArray[np.uint32]]) -> list[tuple[int, int, int]]:
    """(first, second, frames from first's start to second's), most likely ones first."""
    if not sum(len(words) for words in fingerprints):
        return []
    words = np.concatenate(fingerprints)
    file = np.repeat(np.arange(len(fingerprints)), [len(words) for words in fingerprints])
    frame = np.concatenate([np.arange(len(words)) for words in fingerprints])
    order = np.argsort(words & _KEY, kind="stable")  # within equal words by file, then by frame
    order = order[words[order] != 0]
    words, file, frame = words[order] & _KEY, file[order], frame[order]
    triples = []
    for step in range(1, _NEIGHBORS + 1):
        equal = (words[:-step] == words[step:]) & (file[:-step] != file[step:])
        first, second = file[:-step][equal], file[step:][equal]
        triples.append(np.stack([first, second, frame[:-step][equal] - frame[step:][equal]]))
    unique, counts = np.unique(np.concatenate(triples, axis=1), axis=1, return_counts=True)
    ranked = unique[:, np.argsort(-counts, kind="stable")]
    return [(int(first), int(second), int(offset)) for first, second, offset in ranked.T]


def _same(first: NDArray[np.uint32], second: NDArray[np.uint32], shift: int) -> bool:
    start, stop = max(0, shift), min(len(first), len(second) + shift)
    if stop - start < max(MIN_FRAMES, MIN_OVERLAP * min(len(first), len(second))):
        return False
    differing = np.bitwise_count(first[start:stop] ^ second[start - shift : stop - shift])
    return float(differing.mean()) / 32 < MAX_ERRORS
