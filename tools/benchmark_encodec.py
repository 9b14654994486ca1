"""EnCodec 48 kHz on files, by the functions of its own command, with one thread.

    python tools/benchmark_encodec.py compress IN.wav OUT.ecdc
    python tools/benchmark_encodec.py decompress IN.ecdc OUT.wav

At 12 kbps, without its language model, which would take several times as long. The weights are
random, as in tools/benchmark_models.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import soundfile
import torch
from benchmark_files import KBPS
from benchmark_models import random_codebooks
from encodec import EncodecModel
from encodec.compress import MODELS
from encodec.compress import compress as to_bytes
from encodec.compress import decompress as from_bytes


def model_48khz() -> Any:
    """The same random weights in every process."""
    torch.manual_seed(0)
    model = EncodecModel.encodec_model_48khz(pretrained=False)
    model.name = "encodec_48khz"  # which only pretrained ones have
    random_codebooks(model)
    model.set_target_bandwidth(float(KBPS))
    return model.eval()


def compress(source: str, target: str) -> None:
    samples, rate = soundfile.read(source, dtype="float32")
    if rate != 48_000:
        raise ValueError(f"'{source}' is at {rate} Hz, expected 48000: nothing is resampled here")
    waveform = torch.from_numpy(samples.T.copy())
    Path(target).write_bytes(to_bytes(model_48khz(), waveform))


def decompress(source: str, target: str) -> None:
    MODELS["encodec_48khz"] = model_48khz  # its own would fetch weights
    waveform, rate = from_bytes(Path(source).read_bytes())
    soundfile.write(target, waveform.T.numpy(), rate)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"compress": compress, "decompress": decompress}[sys.argv[1]](*sys.argv[2:])
