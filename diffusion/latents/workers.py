"""The shards of stored latents in several processes of this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from codec.api import Codec
from codec.api import load as load_codec
from codec.errors import LacunaError
from diffusion.latents.encode import PlannedShard, encode_shards

_codecs: list[Codec] = []
"""A worker's codec: the one that it loaded when it began."""


def encode_in_workers(
    codec: str,
    shards: list[PlannedShard],
    out: Path,
    workers: int,
    progress: Callable[[str, int, int], None],
) -> None:
    """As ``encode_shards``, on the CPU, in processes with a thread each, a shard at a time.

    Args:
        codec: a shipped codec's name, or a checkpoint's path.
        progress: called after every shard with its name, the files done, and all.

    Raises:
        LacunaError: what ``encode_shards`` raises, or a process ended before its time.
    """
    total, done = sum(len(shard.sources) for shard in shards), 0
    # Not fork: torch's threads do not survive it, and other systems do not have it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(codec,))
    try:
        running = {pool.submit(_encode, shard, out): shard for shard in shards}
        for finished in as_completed(running):
            finished.result()
            done += len(running[finished].sources)
            progress(running[finished].name, done, total)
    except BrokenProcessPool:
        raise LacunaError(
            f"a process that encoded for '{out}' ended before its time; if memory ran out, use "
            f"fewer --workers. The same command goes on where it was"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start(codec: str) -> None:
    torch.set_num_threads(1)
    _codecs.append(load_codec(codec, "cpu"))


def _encode(shard: PlannedShard, out: Path) -> None:
    encode_shards(_codecs[0], [shard], out)
