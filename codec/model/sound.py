"""A sound as latents, and the ways from audio to it and back.

Latents are 32 times fewer numbers than samples, so those of a whole recording are held in memory,
while its samples only ever pass through in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec.audio.pieces import Counted, Progress, cut, no_progress, pieces_of
from codec.audio.resampling import resampled, resampled_length
from codec.audio.waveform import as_array, check_finite, checked_rate
from codec.errors import AudioError
from codec.model.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks, encode_blocks
from codec.model.latent_codec import LatentCodec


@dataclass(frozen=True)
class Sound:
    """Latents, and what their waveform is to be like."""

    latents: Tensor
    """(coded_channels, latent_dim, frames), standardised float32 on the CPU."""
    sample_rate: int
    """The waveform's, in Hz; latents always stand for the codec's own rate."""
    channels: int
    """The waveform's."""
    samples: int
    """Length of the waveform, per channel; frames reach at least as far."""
    clarity: float = 0.0
    """How much less noise there is between partials than the latents say, 0 to 2: of sounds that
    were made, which without have fewer clear partials than recordings."""

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def frames_for(codec: LatentCodec, samples: int, sample_rate: int) -> int:
    """Latent frames of so many samples: ceil(samples at the codec's rate / hop_length)."""
    return codec.frames(resampled_length(samples, sample_rate, codec.sample_rate))


def encode_stream(
    codec: LatentCodec,
    pieces: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    progress: Progress = no_progress,
) -> Sound:
    """Encode float32 pieces (channels, any length) of a recording; silence included.

    Raises:
        AudioError: no samples, or more channels than the codec can code.
    """
    codec.coded_channels(channels)
    taken, latents = Counted(pieces), []
    at_codec_rate = resampled(taken, sample_rate, codec.sample_rate, channels)
    for block in encode_blocks(codec, at_codec_rate, skip_silence=False):
        latents.append(block.latents)
        progress(taken.samples / sample_rate)
    if taken.samples == 0:
        raise AudioError("the audio has no samples; there is nothing to encode")
    joined = torch.from_numpy(np.concatenate(latents, axis=-1))
    return Sound(joined, sample_rate, channels, taken.samples)


def decode_stream(codec: LatentCodec, sound: Sound) -> Iterator[np.ndarray]:
    """The waveform as pieces (channels, any length), ``samples`` in all, at ``sample_rate``."""
    latents = sound.latents.float().numpy()
    assert latents.shape[2] >= frames_for(codec, sound.samples, sound.sample_rate), sound
    nothing_silent = np.zeros(len(latents), np.bool_)
    blocks = (
        LatentBlock(latents[..., start : start + FRAMES_PER_BLOCK], nothing_silent)
        for start in range(0, latents.shape[2], FRAMES_PER_BLOCK)
    )
    length = resampled_length(sound.samples, sound.sample_rate, codec.sample_rate)
    decoded = decode_blocks(codec, blocks, sound.channels, clarity=sound.clarity)
    at_codec_rate = cut(decoded, 0, length)
    at_own_rate = resampled(at_codec_rate, codec.sample_rate, sound.sample_rate, sound.channels)
    return cut(at_own_rate, 0, sound.samples)


def encode_waveform(codec: LatentCodec, waveform: Tensor | np.ndarray, sample_rate: int) -> Sound:
    """Encode a waveform (channels, time), or (time,), at any sample rate.

    Raises:
        AudioError: another shape, no samples, integers, values that are not finite, or more
            channels than the codec can code.
    """
    array, sample_rate = as_array(waveform), checked_rate(sample_rate)
    check_finite(array, 0, sample_rate, "the waveform")
    return encode_stream(codec, pieces_of(array), sample_rate, len(array))


def decode_waveform(codec: LatentCodec, sound: Sound) -> Tensor:
    """The waveform (channels, samples) at the sound's sample rate, float32."""
    return torch.from_numpy(np.concatenate(list(decode_stream(codec, sound)), axis=1))
