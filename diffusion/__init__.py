"""Second stage: latent diffusion over the codec's latents, to generate, edit and denoise sound.

>>> import diffusion
>>> model = diffusion.load()                # the shipped weights, or a checkpoint's path
>>> how = diffusion.Sampling(label="piano", seed=3)
>>> sound = diffusion.generate(model, seconds=10, sampling=how)
>>> waveform = diffusion.decode_waveform(model.codec, sound)    # (channels, samples)
>>> sound = diffusion.encode_waveform(model.codec, waveform, sample_rate)
>>> other = diffusion.inpaint(model, sound, [(2.0, 3.5)])

Names are imported when first used, so that ``import diffusion`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.model.sound import Sound, decode_waveform, encode_waveform
    from diffusion.denoising import LatentDenoiser
    from diffusion.edit import blend, extend, inpaint, interpolate, keep_original, vary
    from diffusion.generation import Generator, Sampling, generate, load

_HOMES = {
    "Generator": "diffusion.generation",
    "LatentDenoiser": "diffusion.denoising",
    "Sampling": "diffusion.generation",
    "Sound": "codec.model.sound",
    "blend": "diffusion.edit",
    "decode_waveform": "codec.model.sound",
    "encode_waveform": "codec.model.sound",
    "extend": "diffusion.edit",
    "generate": "diffusion.generation",
    "inpaint": "diffusion.edit",
    "interpolate": "diffusion.edit",
    "keep_original": "diffusion.edit",
    "load": "diffusion.generation",
    "vary": "diffusion.edit",
}

__all__ = [
    "Generator",
    "LatentDenoiser",
    "Sampling",
    "Sound",
    "blend",
    "decode_waveform",
    "encode_waveform",
    "extend",
    "generate",
    "inpaint",
    "interpolate",
    "keep_original",
    "load",
    "vary",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'diffusion' has no attribute '{name}'")
