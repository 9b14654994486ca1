"""Work done in threads before it is asked for: loading overlaps with computing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

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
