"""Arrays that wait in a temporary file, so that memory does not grow with length."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArraySpool:
    """To be read several times, and by several readers at once."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the spool
        self._kinds: list[tuple[tuple[int, ...], np.dtype]] = []

    def append(self, array: NDArray[Any]) -> None:
        self._file.seek(0, io.SEEK_END)
        self._file.write(np.ascontiguousarray(array).tobytes())
        self._kinds.append((array.shape, array.dtype))

    def through(self, arrays: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """The same arrays, each kept before it goes on."""
        for array in arrays:
            self.append(array)
            yield array

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        place = 0
        for shape, dtype in self._kinds:
            self._file.seek(place)
            data = self._file.read(dtype.itemsize * int(np.prod(shape)))
            place += len(data)
            yield np.frombuffer(data, dtype).reshape(shape)

    def close(self) -> None:
        self._file.close()
