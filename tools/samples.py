"""The sounds and the figure of docs/samples/: CC0 originals, Lacuna, and Opus at 12 kbps.

    python tools/samples.py                  # about a minute; needs opusenc and opusdec

A file `voice_lacuna_3.opus` was a .lac file of 3 kbps, and is Opus of 96 kbps so that browsers play
it; `voice_opus_12.opus` is Opus's own file.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import figure
import numpy as np

import codec

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "docs" / "samples"
ORIGINALS = (
    REPOSITORY / "codec" / "examples" / "plucked.ogg",
    REPOSITORY / "tests" / "data" / "voice.flac",
    FOLDER / "tabla.flac",
    REPOSITORY / "tests" / "data" / "dog.ogg",
)
SECONDS = 8
"""From the beginning of each."""
KBPS = {1: (1.5, 3, 12), 2: (3, 6, 12)}
"""Lacuna's rates by channels."""
TRANSPARENT_KBPS = 96
OPUS_KBPS = 12


def opus(waveform: np.ndarray, sample_rate: int, kbps: float, target: Path) -> None:
    """(channels, time) as an Opus file."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.wav"
        codec.write(source, waveform, sample_rate)
        command = ["opusenc", "--quiet", "--padding", "0", "--bitrate", f"{kbps:g}"]
        subprocess.run([*command, str(source), str(target)], check=True)


def main() -> None:
    for old in FOLDER.glob("*.opus"):
        old.unlink()
    for path in ORIGINALS:
        waveform, sample_rate = codec.read(path)
        waveform = waveform[:, : SECONDS * sample_rate]
        seconds = waveform.shape[1] / sample_rate
        opus(waveform, sample_rate, TRANSPARENT_KBPS, FOLDER / f"{path.stem}_original.opus")
        for kbps in KBPS[len(waveform)]:
            data = codec.compress(waveform, sample_rate, kbps=kbps)
            print(f"{path.stem}: {len(data) * 8 / seconds / 1000:.2f} kbps of {kbps:g}")
            decoded, _ = codec.decompress(data)
            target = FOLDER / f"{path.stem}_lacuna_{kbps:g}.opus"
            opus(decoded.numpy(), sample_rate, TRANSPARENT_KBPS, target)
        opus(waveform, sample_rate, OPUS_KBPS, FOLDER / f"{path.stem}_opus_{OPUS_KBPS}.opus")
    figure.main(list(ORIGINALS[:3]), out=FOLDER / "spectrograms.png")


if __name__ == "__main__":
    main()
