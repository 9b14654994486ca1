"""The label of an audio file: from a manifest, from its folder, or from its name."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from codec.errors import LacunaError

COLUMN = "class"


class Labels:
    """Tells the label of files in several folders.

    With a manifest, its ``class`` column decides for the files that it lists, and its labels are
    the known ones; without one, the names of the first folders below the roots are. A file that
    the manifest does not list has the label of the first folder below its root if that is known,
    or else the known label that its name starts with: ``sea_waves-3.wav``, ``piano_01.flac``.

    Args:
        roots: the folders in which files will be looked up.
        manifest: a CSV file with the columns ``path`` (relative to it) and ``class``.

    Raises:
        LacunaError: the manifest cannot be read, or lacks one of the columns.
    """

    def __init__(self, roots: Iterable[Path], manifest: Path | None = None) -> None:
        self._listed = _read(manifest) if manifest is not None else {}
        if manifest is not None:
            self.known = frozenset(self._listed.values())
        else:
            self.known = frozenset(
                path.name
                for root in roots
                for path in root.glob("*")
                if path.is_dir() and not path.name.startswith(".")
            )

    def of(self, path: Path, root: Path) -> str | None:
        """The label of a file below ``root``; None if there is no telling."""
        listed = self._listed.get(path.resolve())
        if listed is not None:
            return listed
        below = path.relative_to(root).parts
        if len(below) > 1 and below[0] in self.known:
            return below[0]
        # "drum" must not win over "drum_kit" in drum_kit-2.wav.
        for label in sorted(self.known, key=len, reverse=True):
            if re.match(re.escape(label) + r"($|-|_\d)", path.stem):
                return label
        return None


def _read(manifest: Path) -> dict[Path, str]:
    """Resolved path -> label."""
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:  # Excel writes a mark
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LacunaError(f"cannot read the manifest '{manifest}': {error}") from None
    missing = {"path", COLUMN} - set(columns)
    if missing:
        raise LacunaError(
            f"the manifest '{manifest}' has the columns {', '.join(columns) or 'none'}; "
            f"expected 'path' and '{COLUMN}' in its first line"
        )
    base = manifest.parent
    return {(base / row["path"]).resolve(): row[COLUMN] for row in rows if row[COLUMN]}
