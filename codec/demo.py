"""The demonstration: compress and decompress a bundled recording, measure, draw."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from codec import audio
from codec.api import Models
from codec.errors import LacunaError
from codec.files import atomic_path
from codec.metrics.mel import mel_distance

CLIP = Path(__file__).parent / "examples" / "plucked.ogg"
"""10 s of Karoryfer Samples' HorsePulse (CC0-1.0), held out from training."""


def run_demo(models: Models, out: Path, kbps: float | None) -> None:
    """Write original.wav, demo.lac, decoded.wav and spectrograms.png to ``out`` and print a table.

    Raises:
        LacunaError: ``out`` cannot be made.
    """
    from codec.metrics.pictures import spectrogram_pair  # matplotlib takes a second to import

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LacunaError(f"cannot make the folder '{out}': {error.strerror}") from None
    console = Console()
    with console.status("warming up"):
        waveform, sample_rate = audio.read(CLIP)
        models.decompress(models.compress(waveform[:, :sample_rate], sample_rate, kbps))
    seconds = waveform.shape[1] / sample_rate

    with console.status("compressing"):
        begin = time.perf_counter()
        data = models.compress(waveform, sample_rate, kbps)
        compress_seconds = time.perf_counter() - begin
    with console.status("decompressing"):
        begin = time.perf_counter()
        decoded, _ = models.decompress(data)
        decompress_seconds = time.perf_counter() - begin
    assert decoded.shape == waveform.shape

    with console.status("measuring and drawing"):
        audio.write(out / "original.wav", waveform, sample_rate, force=True)
        audio.write(out / "decoded.wav", decoded.numpy(), sample_rate, force=True)
        (out / "demo.lac").write_bytes(data)
        with atomic_path(out / "spectrograms.png", force=True) as partial:
            spectrogram_pair(waveform, decoded.numpy(), sample_rate).savefig(partial, dpi=90)

    wav_bytes = (out / "original.wav").stat().st_size
    table = Table(title=f"{CLIP.name}: {seconds:.1f} s, {sample_rate} Hz, {len(waveform)} channels")
    table.add_column()
    table.add_column("original.wav", justify="right")
    table.add_column("demo.lac", justify="right")
    table.add_row("bytes", f"{wav_bytes:,}", f"{len(data):,}")
    table.add_row(
        "kbps", f"{wav_bytes * 8 / seconds / 1000:.1f}", f"{len(data) * 8 / seconds / 1000:.2f}"
    )
    table.add_row("times smaller", "1", f"{wav_bytes / len(data):.0f}")
    table.add_row("compress, x real time", "", f"{seconds / compress_seconds:.0f}")
    table.add_row("decompress, x real time", "", f"{seconds / decompress_seconds:.0f}")
    table.add_row("mel distance", "0", f"{_mel_distance(waveform, decoded, sample_rate):.2f}")
    console.print(table)
    console.print(f"Listen: {out / 'original.wav'} and {out / 'decoded.wav'}", highlight=False)
    console.print(f"Look:   {out / 'spectrograms.png'}", highlight=False)


def _mel_distance(waveform: np.ndarray, decoded: torch.Tensor, sample_rate: int) -> float:
    return float(mel_distance(decoded, torch.from_numpy(waveform), sample_rate).mean())
