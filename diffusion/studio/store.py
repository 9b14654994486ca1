"""The files that the page may load: those that were made for it, by names nobody can guess.

A working folder holds them, and goes when the program ends. What belongs to a visitor goes when the
visitor leaves.
"""

from __future__ import annotations

import secrets
import shutil
from collections import defaultdict, deque
from pathlib import Path

KEPT = 60
"""Results of a visitor: of more, the oldest go."""
URL = "/made"


class Store:
    """Folders of results below ``root``, by a random token."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, Path] = {}
        self._of: defaultdict[str, deque[str]] = defaultdict(deque)

    def new(self, visitor: str) -> tuple[Path, str]:
        """An empty folder, and the URL below which its files are.

        Raises:
            OSError: it could not be made.
        """
        token = secrets.token_hex(16)
        folder = self.root / token
        folder.mkdir()
        self._folders[token] = folder
        tokens = self._of[visitor]
        tokens.append(token)
        if len(tokens) > KEPT:
            self._remove(tokens.popleft())
        return folder, f"{URL}/{token}"

    def find(self, token: str, name: str) -> Path | None:
        """A file of a result; None for anything else, whatever the two strings hold."""
        folder = self._folders.get(token)
        if folder is None or not folder.is_dir():
            return None
        return next((path for path in folder.iterdir() if path.name == name), None)

    def forget(self, visitor: str) -> None:
        """Remove all that was made for somebody who has left."""
        for token in self._of.pop(visitor, ()):
            self._remove(token)

    def _remove(self, token: str) -> None:
        folder = self._folders.pop(token, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
