"""The second part of the demonstration: a new sound from the diffusion model."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from codec import audio
from codec.model.sound import decode_waveform
from diffusion.generation import Sampling, generate, load

SECONDS = 5.0
LABEL = "piano"


def run_demo(out: Path, device: str) -> None:
    """Write generated.wav to the folder ``out``, and say how long it took."""
    console = Console()
    begin = time.perf_counter()
    with console.status("generating"):
        model = load(device=device)
        label = LABEL if LABEL in model.labels else None
        sound = generate(model, SECONDS, sampling=Sampling(label))
        made = decode_waveform(model.codec, sound).numpy()
        waveform, _ = audio.limited(made, sound.sample_rate)
        audio.write(out / "generated.wav", waveform, sound.sample_rate, force=True)
    console.print(
        f"Made:   {out / 'generated.wav'}, {SECONDS:g} s of '{label}' in "
        f"{time.perf_counter() - begin:.1f} s",
        highlight=False,
    )
