"""What a run leaves: manifest.csv, clips.csv, held_out.csv, the attribution and the tables."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from codec.text import printable
from corpus.recordings import Recording, Report

COLUMNS = (
    "path", "split", "seconds", "sample_rate", "channels", "class", "group", "licence", "author",
    "source", "bandwidth_hz",
)  # fmt: skip
_GROUPS = Path(__file__).with_name("groups.csv")


@dataclass(frozen=True)
class Row:
    """A line of the manifest: a recording and its place, relative to the manifest's folder."""

    path: str
    recording: Recording

    def values(self) -> list[object]:
        """In the order of COLUMNS."""
        it, facts = self.recording, self.recording.measured
        return [
            self.path, it.split, facts.seconds, facts.sample_rate, facts.channels, it.kind,
            it.group, it.licence, it.author, it.source, facts.bandwidth_hz,
        ]  # fmt: skip


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """All of it or nothing."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as table:
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_manifest(out: Path, rows: list[Row]) -> None:
    """OUT/manifest.csv; files of an earlier manifest that this one does not name are deleted."""
    path = out / "manifest.csv"
    names = {row.path for row in rows}
    old: list[str] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as table:
            old = [row["path"] for row in csv.DictReader(table)]
    write_csv(path, COLUMNS, (row.values() for row in rows))
    for name in set(old) - names:
        target = out / name
        if target.resolve().is_relative_to(out.resolve()):
            for suffix in {target.suffix, ".csv", ".mid"}:
                target.with_suffix(suffix).unlink(missing_ok=True)


def local_groups() -> dict[str, tuple[str, str]]:
    """Group of a local folder: (project's address, authors)."""
    with _GROUPS.open(newline="", encoding="utf-8") as table:
        return {r["group"]: (r["project"], r["attribution"]) for r in csv.DictReader(table)}


def write_held_out(
    out: Path, held_out: dict[Path, dict[str, str]], origins: dict[Path, str]
) -> None:
    """OUT/held_out.csv: each held-out file, and where anyone can get it, or why nobody can."""
    groups = local_groups()
    rows = []
    for file, row in held_out.items():
        origin = origins.get(file, "")
        project, _ = groups.get(row["group"], (row["group"], ""))
        where = (
            f"cut from Debian package {origin}"
            if origin
            else f"cannot be fetched by this program: {project}, {row.get('source', '')}"
        )
        rows.append((row["path"], row["class"], row["group"], row["licence"], where))
    write_csv(out / "held_out.csv", ("path", "class", "group", "licence", "where"), rows)


def attribution(rows: list[Row]) -> str:
    """Markdown that names everybody whose recordings the weights learned from."""
    groups = local_groups()
    authors: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    minutes: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        it = row.recording
        origin, _, _ = it.source.partition(":")
        names = it.author
        if origin == it.group:  # of a local folder
            origin, everybody = groups.get(it.group, (it.group, ""))
            names = names or everybody
        else:
            origin = f"Debian package {origin}"
        key = it.group, it.licence, origin
        minutes[key] += it.measured.seconds / 60
        authors[key].update(dict.fromkeys(printable(n) for n in names.split("; ") if n))
    lines = [
        "# Recordings that the weights were trained on",
        "",
        "The weights in this folder are licensed under CC BY-SA 4.0. They were trained on, and",
        "chosen by, the recordings below, whose authors allow redistribution and derivative works;",
        "what is under the GPL alone was left out. The recordings are not in this package.",
        "",
        "| group | source | licence | authors | minutes |",
        "|---|---|---|---|---:|",
    ]
    for key in sorted(authors):
        group, licence, origin = key
        names = ", ".join(authors[key]).replace("|", "/") or "not named"
        lines.append(f"| {group} | {origin} | {licence} | {names} | {minutes[key]:.1f} |")
    return "\n".join(lines) + "\n"


def summary(rows: list[Row]) -> Table:
    """One line a group: files, minutes of each split, classes, licences."""
    table = _table("group", "files", "train min", "dev min", "classes", "licences")
    groups: dict[str, list[Recording]] = defaultdict(list)
    for row in rows:
        group = row.recording.group
        local = row.recording.source.startswith(f"{group}:")
        groups["(added folders)" if local else group].append(row.recording)
    for group in sorted(groups):
        _line(table, group, groups[group])
    table.add_section()
    _line(table, "all", [row.recording for row in rows], details=False)
    return table


def classes(rows: list[Row]) -> Table:
    """One line a class."""
    table = _table("class", "files", "train min", "dev min")
    kinds: dict[str, list[Recording]] = defaultdict(list)
    for row in rows:
        kinds[row.recording.kind].append(row.recording)
    for kind in sorted(kinds, key=lambda kind: -sum(r.measured.seconds for r in kinds[kind])):
        _line(table, kind, kinds[kind], details=False)
    return table


def dropped(report: Report) -> Table:
    """What was left out and why."""
    table = _table("left out of", "files", "because of")
    for (group, reason), count in sorted(report.dropped.items()):
        table.add_row(Text(printable(group)), str(count), Text(printable(reason)))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.MARKDOWN)
    for name in columns:
        number = name == "files" or name.endswith("min")
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table


def _line(table: Table, name: str, recordings: list[Recording], details: bool = True) -> None:
    minutes = {
        split: sum(r.measured.seconds for r in recordings if r.split == split) / 60
        for split in ("train", "dev")
    }
    cells = [Text(printable(name)), str(len(recordings))]
    cells += [f"{minutes['train']:.1f}", f"{minutes['dev']:.1f}"]
    if len(table.columns) > len(cells):
        many = not details or len({r.kind for r in recordings}) > 12
        kinds = "" if many else ", ".join(sorted({r.kind for r in recordings}))
        licences = {part for r in recordings for part in r.licence.split(" AND ")}
        cells += [Text(printable(kinds)), Text(printable(", ".join(sorted(licences))))]
    table.add_row(*cells)
