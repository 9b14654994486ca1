"""The tables of an evaluation, for Markdown and for the page alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codec.evaluation.codecs.comparison import COMPARED, YARDSTICK, Comparison
from codec.evaluation.codecs.evaluate import Evaluation, Group
from codec.evaluation.codecs.measures import (
    COHERENCE,
    LEVELS,
    MODULATION,
    OFF,
    QUALITY,
    SI_SDR,
    SIDE,
    TEXTURE,
    TEXTURE_DISTANCES,
    Measure,
)

BLIND = " (blind)"
VERDICTS = ("ahead", "even", "behind")


@dataclass(frozen=True)
class Table:
    """Cells are text; each line has as many as ``head``."""

    title: str
    text: str
    """How to read it; may be empty."""
    head: list[str]
    cells: list[list[str]]


def summary(evaluation: Evaluation) -> Table:
    """Verdicts in words: what may be claimed, and nothing of blind measures."""
    lines: dict[tuple[str, float, str, float], dict[str, list[str]]] = {}
    texture: dict[tuple[str, float, str, float], Counter[str]] = {}
    for c in evaluation.comparisons:
        key = (c.kind, c.kbps, c.peer, c.peer_kbps)
        verdicts = lines.setdefault(key, {})
        if c.measure in TEXTURE_DISTANCES:
            texture.setdefault(key, Counter())[c.verdict] += 1
        elif (c.kind, c.measure) not in evaluation.blind:
            verdicts.setdefault(c.verdict, []).append(COMPARED[c.measure].label)
    return Table(
        "Summary",
        "Lacuna against each peer, by every measure of quality that is not blind in the class. "
        "Ahead and behind: the 95 % interval of the mean difference file by file leaves zero out. "
        "Of the measures of texture, how many are ahead, even and behind in nearness to the "
        "original.",
        ["class", "Lacuna kbps", "against", "ahead in", "even in", "behind in", "texture"],
        [
            [
                *(key[0], f"{key[1]:g}", f"{key[2]} at {key[3]:g}"),
                *(", ".join(verdicts.get(verdict, ())) or "-" for verdict in VERDICTS),
                ", ".join(str(texture.get(key, Counter())[verdict]) for verdict in VERDICTS),
            ]
            for key, verdicts in lines.items()
        ],
    )


def tables_of_class(evaluation: Evaluation, kind: str) -> list[Table]:
    """All tables of one class, those left out that nothing was measured for."""
    groups = [group for group in evaluation.groups if group.kind == kind]
    blind = {measure for of_kind, measure in evaluation.blind if of_kind == kind}
    tables = [
        _quality(groups, blind, [why for key, why in evaluation.blind.items() if key[0] == kind]),
        _verdicts([c for c in evaluation.comparisons if c.kind == kind], blind),
        _texture(groups),
        _signed(
            "Level by octave",
            "Long-term level of decoded over original in dB, in the octave from the frequency at "
            "the top. Below zero the codec is too soft.",
            groups,
            LEVELS,
        ),
        _signed(
            "SI-SDR by octave",
            "In dB: how well the waveform is followed. Far below zero it is not, and whatever is "
            "heard there is made up.",
            groups,
            SI_SDR,
        ),
        _signed(
            "Stereo image",
            "Changes from the original to the decoded sound: side over mid below zero dB is "
            "narrower; coherence above zero makes the channels more alike.",
            groups,
            {**SIDE, **COHERENCE},
        ),
    ]
    return [table for table in tables if table.cells and len(table.head) > 2]


def _quality(groups: Sequence[Group], blind: set[str], reasons: Sequence[str]) -> Table:
    measures = _present(QUALITY, groups)

    def cell(group: Group, name: str) -> str:
        text = f"{group.means[name]:.2f}"
        if name in group.intervals and group.asked_kbps is not None:
            reach = group.intervals[name]
            text += f" ({reach.low:.2f} to {reach.high:.2f})"
        return text

    has_yardstick = any((group.codec, group.asked_kbps) == YARDSTICK for group in groups)
    text = "Means over files, and 95 % intervals."
    if reasons:
        text += " " + ". ".join(reasons) + "."
    elif not has_yardstick:
        text += (
            f" Without {YARDSTICK[0]} at {YARDSTICK[1]:g} kbps nothing says which of these "
            f"measures can rank here: none of them is ground for a claim."
        )
    labels = [
        f"{measure.label}{BLIND if name in blind else ''}" for name, measure in measures.items()
    ]
    return Table("Quality", text, ["codec", "kbps", *labels], _lines(groups, measures, cell))


def _texture(groups: Sequence[Group]) -> Table:
    measures = _present({**TEXTURE, MODULATION: TEXTURE_DISTANCES[MODULATION]}, groups)

    def cell(group: Group, name: str) -> str:
        off = group.means.get(name + OFF)
        text = f"{group.means[name]:.2f}"
        return text if off is None or group.codec == "original" else f"{text} (off {off:.2f})"

    return Table(
        "Texture",
        "No value is better in itself: what counts is how far off the original's it lies, clip by "
        "clip (means of that in brackets). Noise is right by these, whatever it is noise for.",
        ["codec", "kbps", *(measure.label for measure in measures.values())],
        _lines(groups, measures, cell),
    )


def _signed(title: str, text: str, groups: Sequence[Group], names: Mapping[str, Measure]) -> Table:
    measures = _present(names, groups)
    groups = [group for group in groups if group.codec != "original"]
    return Table(
        title,
        text,
        ["codec", "kbps", *(measure.label for measure in measures.values())],
        _lines(groups, measures, lambda group, name: f"{group.means[name]:+.2f}"),
    )


def _verdicts(comparisons: Sequence[Comparison], blind: set[str]) -> Table:
    names = [name for name in COMPARED if any(c.measure == name for c in comparisons)]
    lines: dict[tuple[float, str, float], dict[str, str]] = {}
    for c in comparisons:
        gain = c.gain
        cell = f"{c.verdict} {gain.value:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})"
        lines.setdefault((c.kbps, c.peer, c.peer_kbps), {})[c.measure] = cell
    return Table(
        "Ahead, even or behind",
        "Mean of the differences file by file, positive where Lacuna is better, with its 95 % "
        "interval (BCa bootstrap); even where that holds zero. 'Off' compares distances to the "
        "original's value. Verdicts of a blind measure are no ground for a claim, and of so many "
        "verdicts about one in twenty is wrong by chance.",
        [
            "Lacuna kbps",
            "against",
            *(f"{COMPARED[name].label}{BLIND if name in blind else ''}" for name in names),
        ],
        [
            [f"{kbps:g}", f"{peer} at {peer_kbps:g}", *(cells.get(name, "") for name in names)]
            for (kbps, peer, peer_kbps), cells in lines.items()
        ],
    )


def speeds(evaluation: Evaluation) -> Table:
    """Rates, numbers of files and speeds of everything that has a rate."""
    return Table(
        "Rates and speeds",
        "A rate counts all bytes, container included; the asked one is a ceiling for Lacuna and a "
        "target for the others. Speeds are multiples of real time, start of programs included.",
        ["class", "codec", "asked kbps", "kbps", "files", "compress", "decompress"],
        [
            [
                *(group.kind, group.codec, f"{group.asked_kbps:g}", f"{group.kbps:.2f}"),
                *(str(group.files), f"{group.compress_speed:.0f}x"),
                f"{group.decompress_speed:.0f}x",
            ]
            for group in evaluation.groups
            if group.asked_kbps is not None
        ],
    )


def _present(measures: Mapping[str, Measure], groups: Sequence[Group]) -> dict[str, Measure]:
    return {
        name: measure
        for name, measure in measures.items()
        if any(name in group.means for group in groups)
    }


def _lines(
    groups: Sequence[Group],
    measures: Mapping[str, Measure],
    cell: Callable[[Group, str], str],
) -> list[list[str]]:
    lines = []
    for group in groups:
        cells = [cell(group, name) if name in group.means else "" for name in measures]
        if any(cells):
            asked = "" if group.asked_kbps is None else f" at {group.asked_kbps:g}"
            kbps = "" if group.kbps is None else f"{group.kbps:.2f}"
            lines.append([f"{group.codec}{asked}", kbps, *cells])
    return lines
