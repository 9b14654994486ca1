"""Work done in threads or processes before it is asked for: loading overlaps with computing."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

A = TypeVar("A")
R = TypeVar("R")


def computed_ahead(
    function: Callable[[A], R], arguments: Iterable[A], *, workers: int = 1, depth: int = 2
) -> Iterator[R]:
    """``function`` of each argument, in their order, of which ``depth`` are under way or waiting.

    ``arguments`` may be endless. Closing the iterator waits for the calls that have begun, and
    drops the others.

    Raises:
        Exception: whatever ``function`` raised, when its result is due.
    """
    remaining = iter(arguments)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        pending: deque[Future[R]] = deque(
            pool.submit(function, argument) for argument in islice(remaining, depth)
        )
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()


def computed_in_processes(
    function: Callable[[A], R], arguments: Iterable[A], *, processes: int
) -> Iterator[R]:
    """``function`` of each argument, in their order, by forked processes with a thread each.

    For work that threads hold each other up at. ``function`` gives tensors on the CPU, which come
    back through shared memory, and pinned (by a method ``pin_memory``); it must not touch a GPU.
    """
    yield from DataLoader(
        _Results(function),
        sampler=arguments,
        batch_size=None,
        num_workers=processes,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_parent,
        multiprocessing_context="fork",
    )


def _leave_signals_to_the_parent(number: int) -> None:
    """It ends after the step with a checkpoint, and its processes then."""
    for received in (signal.SIGINT, signal.SIGTERM):
        signal.signal(received, signal.SIG_IGN)


class _Results(Dataset[Any]):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __getitem__(self, argument: Any) -> Any:
        return self._function(argument)
