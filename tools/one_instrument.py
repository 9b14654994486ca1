"""A folder of one instrument, to adapt the models to (docs/EMBEDDING.md).

    python tools/one_instrument.py piano 0          # General MIDI's grand piano
    python tools/one_instrument.py music_box 10

leaves half minutes of random but musical notes, played by fluidsynth, in NAME/train and NAME/valid
(tools/corpus/midi.py; apt-get install fluidsynth fluid-soundfont-gm).
"""

from __future__ import annotations

import sys
from itertools import count, islice
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

sys.path.insert(0, str(Path(__file__).parent))  # wherever this is started from

from corpus.midi import compose, find_soundfont, render


def main(
    out: Path,
    program: Annotated[int, Parameter(validator=Number(gte=0, lt=112))],
    /,
    *,
    train: Annotated[int, Parameter(validator=Number(gte=1))] = 24,
    valid: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
) -> None:
    """Make pieces of one program of General MIDI, counted from 0.

    Args:
        out: folder.
        program: 0 to 111.
        train: pieces to train on.
        valid: pieces to keep apart.
    """
    soundfont = find_soundfont()
    pieces = (number for number in count() if compose(number)[0] == program)
    for place, number in enumerate(islice(pieces, train + valid)):
        render(number, out / ("train" if place < train else "valid"), soundfont)


if __name__ == "__main__":
    cyclopts.run(main)
