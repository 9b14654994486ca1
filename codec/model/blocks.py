"""Audio of any length through the networks in constant memory, block by block.

A block is FRAMES_PER_BLOCK latent frames. Every block goes through a network alone, with a halo
of the network's receptive field on both sides, in a shape that is its own, so that a file gives
the same bits whether it is coded whole, from a pipe, or from the middle.

    samples   ...|====== block 0 ======|====== block 1 ======|== 2 ==|
    network             [halo|============ block 1 ===========|halo]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from codec.entropy.coefficients import Layer
from codec.errors import AudioError
from codec.model.latent_codec import LatentCodec
from codec.model.refine import refined
from codec.network.map_waveform import MapWaveformDecoder, Place
from codec.network.renderer import ANCHOR_FRAMES
from codec.process import give_memory_back

FRAMES_PER_BLOCK = ANCHOR_FRAMES
"""11.9 s at 21.5 Hz: long beside the halo, which is computed twice, and short beside a song."""

SILENCE = 1e-6
"""A channel that never exceeds -120 dB in a block is digital silence there and is not coded."""

TIDIED_AFTER = 32
"""Freed memory is given back after so many blocks."""

FADE_SECONDS = 0.01
"""Sound beside a lost block fades out and in over this long."""


@dataclass(frozen=True)
class LatentBlock:
    """Standardised latents (coded_channels, latent_dim, frames) of one block."""

    latents: np.ndarray
    """Or tokens (coded_channels, books, frames), on their way into a file."""
    silent: np.ndarray
    """(coded_channels,) bool: digital silence, to be decoded as such whatever the latents are."""
    layer: Layer | None = None
    """Coefficients of the waveform itself, where the block has any."""


def encode_blocks(
    codec: LatentCodec,
    chunks: Iterable[np.ndarray],
    skip_silence: bool = True,
    tokens: bool = False,
) -> Iterator[LatentBlock]:
    """The latents of a stream of (channels, any length) chunks at the codec's sample rate.

    With ``skip_silence`` digital silence does not go through the network, and its latents are 0.
    ``tokens`` asks for tokens in place of latents, of a model that has them.

    Raises:
        AudioError: samples so far beyond full scale that the network cannot work with them.
    """
    for window, samples in block_windows(codec, chunks):
        yield encode_block(codec, window, samples, skip_silence, tokens)


def block_windows(
    codec: LatentCodec, chunks: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, int]]:
    """Each block's samples with the encoder's halo on both sides, in whole frames.

    Yields:
        A window (channels, halo + block + halo), zero where there is no sound, and how many of
        the block's own samples are real.
    """
    hop = codec.hop_length
    halo = codec.autoencoder.encoder.receptive_frames * hop
    size = FRAMES_PER_BLOCK * hop
    buffer: np.ndarray | None = None
    count = 0
    for chunk in chunks:
        if buffer is None:
            buffer = np.zeros((chunk.shape[0], halo), np.float32)
        buffer = np.concatenate([buffer, chunk], axis=1)
        while buffer.shape[1] >= halo + size + halo:
            yield buffer[:, : size + 2 * halo], size
            buffer = buffer[:, size:]
            count += 1
            if count % TIDIED_AFTER == 0:
                give_memory_back()
    while buffer is not None and buffer.shape[1] > halo:
        samples = min(size, buffer.shape[1] - halo)
        length = codec.frames(samples) * hop + 2 * halo
        window = buffer[:, :length]
        yield np.pad(window, ((0, 0), (0, length - window.shape[1]))), samples
        buffer = buffer[:, size:]


@torch.inference_mode()
def encode_block(
    codec: LatentCodec, window: np.ndarray, samples: int, skip_silence: bool, tokens: bool
) -> LatentBlock:
    """One window of a block and its halos, of which ``samples`` after the first halo are real."""
    halo = codec.autoencoder.encoder.receptive_frames
    start = halo * codec.hop_length
    frames = codec.frames(samples)
    rows = codec.to_rows(torch.from_numpy(window)[None])[0]
    silent = (rows[..., start : start + samples].abs().amax(dim=(1, 2)) <= SILENCE).numpy()
    shape = (len(rows), codec.tables.latent_dim if tokens else codec.latent_dim, frames)
    latents = np.zeros(shape, np.int32 if tokens else np.float32)
    for channel, row in enumerate(rows):
        if silent[channel] and skip_silence:
            continue
        # One row at a time: the result must not depend on what else is in a batch.
        one = row[None].contiguous().to(codec.device)
        z = codec.quantise(one) if tokens else codec.analyze(one).mean
        latents[channel] = z[0, :, halo : halo + frames].cpu().numpy()
    if not np.isfinite(latents).all():
        raise AudioError(
            f"the samples reach {np.abs(window).max():.3g}, which the network cannot work with; "
            f"expected about +-1: scale the audio down"
        )
    return LatentBlock(latents, silent)


def decode_blocks(
    codec: LatentCodec,
    blocks: Iterable[LatentBlock | None],
    channels: int,
    first_block: int = 0,
    clarity: float = 0.0,
) -> Iterator[np.ndarray]:
    """Samples (channels, frames * hop_length) of each block; None stands for a lost block.

    ``first_block`` is the number of the first of them in its file: where a decoder makes up
    noise, the same place always gets the same. ``clarity`` is as in :class:`Place`.
    A lost block becomes silence of a whole block's length, with short fades beside it.
    """
    fade = round(FADE_SECONDS * codec.sample_rate)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    silence = silence_of(codec)
    previous: LatentBlock | None = None
    lost_before = False
    for index, (block, following) in enumerate(_with_next(blocks), start=first_block):
        if block is None:
            lost_before = True
            previous = None
            yield np.zeros((channels, FRAMES_PER_BLOCK * codec.hop_length), np.float32)
            continue
        place = Place(index * FRAMES_PER_BLOCK, clarity=clarity)
        samples = _decode_block(codec, previous, block, following.block, channels, place, silence)
        if lost_before:
            samples[:, :fade] *= ramp[: samples.shape[1]]
        if following.exists and following.block is None:
            samples[:, -fade:] *= ramp[::-1]  # a block that another one follows is long
        lost_before = False
        previous = block
        if index % TIDIED_AFTER == TIDIED_AFTER - 1:
            give_memory_back()
        yield samples


@dataclass(frozen=True)
class _Next:
    exists: bool
    block: LatentBlock | None


def _with_next(
    blocks: Iterable[LatentBlock | None],
) -> Iterator[tuple[LatentBlock | None, _Next]]:
    iterator = iter(blocks)
    try:
        current = next(iterator)
    except StopIteration:
        return
    for following in iterator:
        yield current, _Next(True, following)
        current = following
    yield current, _Next(False, None)


@torch.inference_mode()
def silence_of(codec: LatentCodec) -> np.ndarray | None:
    """Latents (latent_dim, 1) of digital silence, which a spectral map sees beyond a sound.

    The encoder has seen silence there. A map of frames that repeat says a tone that never was: hard
    cuts came back 22 dB too loud in their last 5 ms. Other decoders were trained with frames that
    go on, and would fade.
    """
    if not isinstance(codec.autoencoder.decoder, MapWaveformDecoder):
        return None
    middle = codec.autoencoder.encoder.receptive_frames
    zeros = torch.zeros(1, 1, (2 * middle + 1) * codec.hop_length, device=codec.device)
    return codec.analyze(zeros).mean[0, :, middle : middle + 1].cpu().numpy()


@torch.inference_mode()
def _decode_block(
    codec: LatentCodec,
    previous: LatentBlock | None,
    block: LatentBlock,
    following: LatentBlock | None,
    channels: int,
    start: Place,
    silence: np.ndarray | None,
) -> np.ndarray:
    """Decode a block, whose first frame ``start`` tells, with its neighbours' latents as halo."""
    halo = codec.autoencoder.decoder.receptive_frames
    coded, _, frames = block.latents.shape
    hop = codec.hop_length
    rows = []
    for channel in range(coded):
        if block.silent[channel]:
            rows.append(torch.zeros(codec.config.channels, frames * hop, dtype=torch.float32))
            continue
        window = latent_window(codec, (previous, block, following), channel, silence)
        z = torch.from_numpy(window).to(codec.device)[None]
        place = replace(start, first_frame=start.first_frame - halo, channels=[channel])
        if block.layer is None:
            row = codec.synthesize(z, place, halo=halo)[0].cpu()
        else:
            made, levels = codec.synthesize_with_levels(z, place, halo - 1)
            layers = [side.layer if side else None for side in (previous, block, following)]
            row = refined(made[0].cpu(), levels[0].cpu(), layers, channel)
        rows.append(row)
    return codec.from_rows(torch.stack(rows)[None], channels)[0].numpy()


def latent_window(
    codec: LatentCodec,
    blocks: tuple[LatentBlock | None, LatentBlock, LatentBlock | None],
    channel: int,
    silence: np.ndarray | None,
) -> np.ndarray:
    """A channel's latents with those of the blocks before and after as halo.

    (latent_dim, halo + the block's frames + halo) of the decoder's halo
    """
    previous, block, following = blocks
    halo = codec.autoencoder.decoder.receptive_frames
    _, latent_dim, frames = block.latents.shape
    window = np.empty((latent_dim, halo + frames + halo), np.float32)
    own = block.latents[channel]
    window[:, halo : halo + frames] = own
    # Beyond the ends, and beside a lost or silent block, there is silence, or the outermost
    # frame goes on.
    window[:, :halo] = own[:, :1] if silence is None else silence
    window[:, halo + frames :] = own[:, -1:] if silence is None else silence
    if previous is not None and not previous.silent[channel]:
        window[:, :halo] = previous.latents[channel][:, -halo:]
    if following is not None and not following.silent[channel] and frames == FRAMES_PER_BLOCK:
        right = following.latents[channel][:, :halo]
        window[:, halo + frames : halo + frames + right.shape[1]] = right
        if silence is None:
            window[:, halo + frames + right.shape[1] :] = right[:, -1:]
    return window
