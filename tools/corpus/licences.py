"""Which licence a recording is under, and whether weights under CC-BY-SA 4.0 may learn from it.

Kept is what allows redistribution and derivative works and goes into a work under CC-BY-SA 4.0:
public domain, CC0, CC-BY, CC-BY-SA and the short permissive licences. Of alternatives ("GPL-3 or
CC-BY-3.0") the freest is taken; what is under the GPL alone is left out, and so is everything
whose licence cannot be made out.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from debian.copyright import Copyright, FilesParagraph, NotMachineReadableError

from corpus.packages import Package

logging.getLogger("debian.copyright").setLevel(logging.ERROR)  # it mends Format lines aloud

_FREE = ("CC0", "Public-Domain", "WTFPL", "Zlib", "MIT", "BSD", "CC-BY", "CC-BY-SA")
_PERMISSIVE = {"zlib": "Zlib", "expat": "MIT", "mit": "MIT", "x11": "MIT", "wtfpl": "WTFPL"}


@dataclass(frozen=True)
class Licence:
    """What was decided for a file: `name` is None where it has to be left out."""

    name: str | None
    author: str
    stated: str  # what the package says, word for word


def choose(statement: str) -> str | None:
    """The freest licence that `statement` offers, in short form, or None if none will do."""
    offers = [_all_of(part) for part in re.split(r",?\s+or\s+|\s*\|\s*", statement, flags=re.I)]
    return min((offer for offer in offers if offer), key=_rank, default=None)


def _all_of(part: str) -> str | None:
    """Short form of "A and B", where each has to be free."""
    names = [_short(name) for name in re.split(r",?\s+and\s+|\s*[/;]\s+", part, flags=re.I)]
    kept = [name for name in names if name]
    return " AND ".join(sorted(set(kept))) if len(kept) == len(names) else None


def _rank(name: str) -> int:
    family = re.sub(r"-?\d.*", "", name.rpartition(" AND ")[2])
    return _FREE.index(family) if family in _FREE else len(_FREE)


def _short(name: str) -> str | None:
    """SPDX-like short form of one licence's name or address; None if it is not a free one."""
    text = name.strip().lower()
    if re.search(r"\b(nc|nd|noncommercial|noderiv\w*|sampling)\b", text):
        return None
    if re.match(r"cc-?0|.*creativecommons\.org/publicdomain/zero", text):
        return "CC0-1.0"
    if re.match(r"(public[ -]?domain|pd|unlicense)\b", text):
        return "Public-Domain"
    match = re.match(
        r"(?:.*creativecommons\.org/licenses/|cc[- ])by([- ]sa)?\b[-/ ]?(\d\.\d)?", text
    )
    if match:
        share = "-SA" if match[1] else ""
        return f"CC-BY{share}-{match[2]}" if match[2] else f"CC-BY{share}"
    if re.match(r"bsd-[23]", text):
        return "BSD"
    return _PERMISSIVE.get(text)


class CopyrightFile:
    """A package's copyright file, asked for single files; raises OSError if it is not there."""

    def __init__(self, unpacked: Path, package: Package) -> None:
        self.package, self.unpacked = package, unpacked
        path = unpacked / "usr/share/doc" / package.name / "copyright"
        try:
            with path.open(encoding="utf-8", errors="replace") as text:
                self.machine: Copyright | None = Copyright(text, strict=False)
        except (NotMachineReadableError, ValueError):
            self.machine = None  # prose: only what files themselves say counts
        self.statements = [
            statement
            for statement in package.statements
            if self._holds(statement.where, statement.licence)
        ]

    def _holds(self, where: str, words: str) -> bool:
        path = self.unpacked / where
        return path.is_file() and words in path.read_text(encoding="utf-8", errors="replace")

    def licence(self, path: str, artist: str, tag: str) -> Licence:
        """The licence of the file at `path` in the source tree, whose tags are `artist` and `tag`.

        A text beside it that speaks of it goes first, then an entry that names the file, then its
        own licence tag, then an entry for its folder or the whole package.
        """
        for statement in self.statements:
            if re.search(statement.pattern, path):
                return Licence(choose(statement.licence), statement.author, statement.licence)
        entry, exact = self._entry(path)
        if tag and not exact:
            return Licence(choose(tag), artist, tag)
        if entry is None or entry.license is None:
            return Licence(None, artist, "no licence named")
        stated = entry.license.synopsis
        return Licence(choose(stated), _authors(entry.copyright or artist), stated)

    def _entry(self, path: str) -> tuple[FilesParagraph | None, bool]:
        """The paragraph that speaks of `path`, and whether it names that very file."""
        if self.machine is None:
            return None, False
        for name in (f"./{path}", path):
            entry = self.machine.find_files_paragraph(name)
            if entry is not None and name in entry.files:
                return entry, True
        dotted = self.machine.find_files_paragraph(f"./{path}")
        plain = self.machine.find_files_paragraph(path)
        # "*" matches both spellings; a folder's pattern matches the one that it is written in
        blanket = dotted is None or tuple(dotted.files) == ("*",)
        return (plain if blanket else dotted), False


def _authors(text: str) -> str:
    """Names alone, on one line: no years, no signs, no addresses."""
    lines = []
    for line in text.splitlines():
        line = re.sub(
            r"\(?<[^>]*>\)?|\(c\)|©|\b(19|20)\d\d\b(\s*[-\u2013,])*|\?{4}", " ", line, flags=re.I
        )
        lines.append(re.sub(r"\s+", " ", line).strip(" ,;"))
    return "; ".join(dict.fromkeys(line for line in lines if line))
