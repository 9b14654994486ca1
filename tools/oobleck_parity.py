"""Whether a converted Oobleck autoencoder gives what diffusers gives with the same weights.

    python tools/oobleck_parity.py [--width 128] [--seconds 3]

Random weights are written to a folder by diffusers and read as `lacuna convert` reads them, once as
they lie there and once under the names of stable-audio-tools. Prints the largest difference of
means, scales and waveforms, relative to the largest value. Needs diffusers (extra `dev`).
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import cyclopts
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from codec.api import Codec, load
from codec.interop.convert import convert
from codec.interop.diffusers_layout import module_name
from codec.model import checkpoint
from codec.network.config import OobleckConfig


def main(*, width: int = 128, seconds: float = 3.0) -> None:
    """Compare at any size.

    Args:
        width: channels of the first layer; 128, which is the published one, has 64 latents.
        seconds: of noise.
    """
    torch.manual_seed(0)
    theirs = AutoencoderOobleck(
        encoder_hidden_size=width, decoder_channels=width, decoder_input_channels=width // 2
    ).eval()
    with torch.inference_mode():
        for name, parameter in theirs.named_parameters():
            if name.endswith((".alpha", ".beta", ".bias")):
                parameter.normal_(0, 0.1)  # all zero, or nearly so, at the start
        time_ = round(seconds * 44100 / 2048) * 2048
        waveform, z = 0.2 * torch.randn(1, 2, time_), torch.randn(1, width // 2, time_ // 2048)
        expected = theirs.encode(waveform).latent_dist
        decoded = theirs.decode(z).sample
    count = sum(parameter.numel() for parameter in theirs.parameters())
    print(f"{count / 1e6:.1f} M parameters, {time_ / 44100:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(Path(folder) / "diffusers")
        _write_tools(theirs, Path(folder) / "stable-audio-tools", width)
        for layout in ("diffusers", "stable-audio-tools"):
            start = time.perf_counter()
            codec = _through_a_file(Path(folder) / layout)
            loading = time.perf_counter() - start
            with torch.inference_mode():
                posterior = codec.autoencoder.posterior(waveform)
                print(
                    f"{layout}: mean {_relative(posterior.mean, expected.mean):.1e}, "
                    f"scale {_relative(posterior.sigma, expected.std):.1e}, "
                    f"waveform {_relative(codec.decode(z[:, None]), decoded):.1e}; "
                    f"converted, saved and loaded in {loading:.0f} s"
                )


def _through_a_file(folder: Path) -> Codec:
    path = folder / "converted.safetensors"
    checkpoint.save(convert(folder, name="converted").checkpoint, path)
    return load(path)


def _write_tools(model: AutoencoderOobleck, folder: Path, width: int) -> None:
    """The same weights as stable-audio-tools would have them, in a pickle."""
    folder.mkdir()
    network = OobleckConfig(width=width)
    half = {
        "channels": width,
        "c_mults": list(network.width_multiples),
        "strides": list(network.strides),
        "use_snake": True,
    }
    model_table = {
        "encoder": {"type": "oobleck", "config": {**half, "latent_dim": width}},
        "decoder": {
            "type": "oobleck",
            "config": {**half, "latent_dim": width // 2, "final_tanh": False},
        },
        "bottleneck": {"type": "vae"},
        "latent_dim": width // 2,
        "downsampling_ratio": 2048,
        "io_channels": 2,
    }
    config = {"model_type": "autoencoder", "sample_rate": 44100, "model": model_table}
    (folder / "model_config.json").write_text(json.dumps(config))
    ours = {}
    for name in _module_names(network):
        ours[module_name(network, name)] = name
    tensors = {}
    for key, value in model.state_dict().items():
        module, _, parameter = key.rpartition(".")
        snake = parameter in ("alpha", "beta")
        tensors[f"autoencoder.{ours[module]}.{parameter}"] = value.flatten() if snake else value
    torch.save({"state_dict": tensors}, folder / "model.ckpt")


def _module_names(network: OobleckConfig) -> list[str]:
    """The names of all convolutions and activations."""
    stages = len(network.strides)
    names = []
    for half, units in (("encoder", range(3)), ("decoder", range(2, 5))):
        names += [f"{half}.layers.{i}" for i in (0, stages + 1, stages + 2)]
        for stage in range(1, stages + 1):
            block = f"{half}.layers.{stage}.layers"
            names += [f"{block}.{i}" for i in range(5) if i not in units]
            names += [f"{block}.{unit}.layers.{i}" for unit in units for i in range(4)]
    return names


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.reshape(theirs.shape) - theirs).abs().max() / theirs.abs().max())


if __name__ == "__main__":
    cyclopts.run(main)
