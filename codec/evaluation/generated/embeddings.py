"""What sets of sounds are compared by: numbers per window of 3 s that need no download.

Two embeddings, each made of a mean, a standard deviation and a mean absolute difference of
neighbouring frames, so that how a sound moves counts as much as what it is made of:

``latents``   of the codec's latents
``log_mel``   of the levels of mel bands in dB

They err apart: the codec's latents may be blind to what the codec does not keep, and to flaws
that its own decoder makes; mel bands know nothing of the codec, and little of pitch.

Up to two channels are taken, one by one, and averaged: a stereo file and its mono mix embed much
alike, so stereo width is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codec import audio
from codec.batch.folders import find_audio
from codec.errors import AudioError
from codec.evaluation.generated.labels import Labels
from codec.metrics.mel import mel_spectrogram
from codec.model.blocks import encode_blocks
from codec.model.latent_codec import LatentCodec

Progress = Callable[[str, int, int], None]

WINDOW_SECONDS = 3.0
MAX_WINDOWS = 4
"""Windows of a file at most: those of one recording are alike, and a long one must not outweigh
others."""
MIN_SECONDS = 0.1

STATISTICS = 3
"""For each latent or band: mean, standard deviation and mean absolute difference."""
MEL_BANDS = 64
MEL_WINDOW = 2048
MEL_FLOOR = 1e-4
"""About 100 dB below a sine at full scale; what is below is not heard, and would count most."""

SILENT_PEAK = 1e-3
"""-60 dB: silence is like all other silence and copied from nobody."""


@dataclass(frozen=True)
class Clip:
    """An audio file as what is known of it."""

    name: str
    """Its path below the folder that it was found in."""
    label: str | None
    embeddings: dict[str, Tensor]
    """Name of the embedding -> (windows, dimensions)."""
    envelope: Tensor
    """(MEL_BANDS,): the mean of the log-mel spectrum over the windows, in dB."""
    queries: Tensor
    """(queries, latent_dim, frames): halves of windows, of one channel each. A note may be like
    another one; what is like something in the training data for 1.5 s is a copy."""
    starts: tuple[float, ...]
    """Second in the file at which each query starts."""
    tracks: tuple[Tensor, ...]
    """The latents of whole channels, (latent_dim, frames) each, if they were asked for."""


def embed_folder(
    codec: LatentCodec,
    folder: Path,
    labels: Labels,
    *,
    whole: bool = False,
    progress: Progress = lambda name, done, total: None,
) -> tuple[list[Clip], list[str]]:
    """All audio files below a folder, and what was skipped, with the reason.

    Args:
        whole: keep the latents of whole files too, to look for copies in them.

    Raises:
        AudioError: no such folder, or no audio file in it that can be used.
    """
    clips, skipped = [], []
    paths = find_audio(folder)
    for done, path in enumerate(paths):
        progress(path.name, done, len(paths))
        name = path.relative_to(folder).as_posix()
        try:
            waveform, sample_rate = audio.read(path)
            waveform = audio.resample(waveform, sample_rate, codec.sample_rate)
            clips.append(embed(codec, waveform, name, labels.of(path, folder), whole=whole))
        except AudioError as error:
            skipped.append(str(error) if name in str(error) else f"{name}: {error}")
    if not clips:
        reasons = "\n  ".join(skipped[:5])
        raise AudioError(f"none of the {len(paths)} files in '{folder}' is usable:\n  {reasons}")
    return clips, skipped


def embed(
    codec: LatentCodec, waveform: np.ndarray, name: str, label: str | None, *, whole: bool = False
) -> Clip:
    """A waveform (channels, time) at the codec's sample rate; see ``embed_folder``.

    Raises:
        AudioError: it is shorter than MIN_SECONDS, or far beyond full scale.
    """
    if waveform.shape[1] < MIN_SECONDS * codec.sample_rate:
        raise AudioError(
            f"{waveform.shape[1] / codec.sample_rate:.3f} s of sound, expected {MIN_SECONDS} s "
            f"or more"
        )
    waveform = waveform[:2]
    if len(waveform) == 2 and np.array_equal(*waveform):
        waveform = waveform[:1]  # encoding takes most of the time
    hop = codec.hop_length
    frames = -(-waveform.shape[1] // hop)
    waveform = np.pad(waveform, ((0, 0), (0, frames * hop - waveform.shape[1])))
    size = min(frames, _window_frames(codec))
    starts = _spread(frames, size)

    per_channel: list[dict[str, Tensor]] = []
    envelopes, tracks, queries, query_starts = [], [], [], []
    for channel in waveform:
        windows = torch.from_numpy(
            np.stack([channel[s * hop : (s + size) * hop] for s in starts]).astype(np.float32)
        )
        if whole:
            blocks = encode_blocks(codec, [channel[None]], skip_silence=False)
            track = torch.from_numpy(np.concatenate([b.latents[0] for b in blocks], axis=-1))
            tracks.append(track)
            latents = torch.stack([track[:, s : s + size] for s in starts])
        else:
            latents = _encode_windows(codec, channel, starts, size)
        levels = _mel_levels(windows.to(codec.device), codec.sample_rate).cpu()
        per_channel.append({"latents": pooled(latents), "log_mel": pooled(levels)})
        envelopes.append(levels.mean(dim=(0, 2)))
        for number, start in enumerate(starts):
            for first, query in _queries(codec, windows[number], latents[number]):
                queries.append(query)
                query_starts.append((start + first) / codec.frame_rate)
    nothing = torch.zeros(0, codec.latent_dim, _query_frames(codec))
    return Clip(
        name=name,
        label=label,
        embeddings={
            key: torch.stack([channel[key] for channel in per_channel]).mean(dim=0)
            for key in per_channel[0]
        },
        envelope=torch.stack(envelopes).mean(dim=0),
        queries=torch.stack(queries) if queries else nothing,
        starts=tuple(query_starts),
        tracks=tuple(tracks),
    )


def pooled(frames: Tensor) -> Tensor:
    """Mean, standard deviation and mean absolute difference of neighbours, over time.

    Shape: (windows, channels, frames) -> (windows, STATISTICS * channels)
    """
    if frames.shape[2] > 1:
        moves = frames.diff(dim=2).abs().mean(dim=2)
    else:
        moves = torch.zeros_like(frames[..., 0])
    return torch.cat([frames.mean(dim=2), frames.std(dim=2, correction=0), moves], dim=1)


def _spread(frames: int, size: int) -> list[int]:
    """First frames of up to MAX_WINDOWS windows over a whole clip, at most half overlapping."""
    count = min(MAX_WINDOWS, 1 + 2 * (frames - size) // size)
    return np.linspace(0, frames - size, count).round().astype(int).tolist()


@torch.inference_mode()
def _encode_windows(
    codec: LatentCodec, channel: np.ndarray, starts: Sequence[int], size: int
) -> Tensor:
    """The same latents as of the whole channel: (windows, latent_dim, size)."""
    halo, hop = codec.autoencoder.encoder.receptive_frames, codec.hop_length
    padded = np.pad(channel, halo * hop)
    rows = np.stack([padded[s * hop : (s + size + 2 * halo) * hop] for s in starts])
    # One by one would be the same; of up to MAX_WINDOWS at once the memory is small.
    waveform = torch.from_numpy(rows.astype(np.float32))[:, None].to(codec.device)
    latents = codec.encode(waveform)[:, 0, :, halo : halo + size].cpu()
    if not torch.isfinite(latents).all():
        raise AudioError(
            f"the samples reach {np.abs(channel).max():.3g}, expected about +-1; scale them down"
        )
    return latents


@torch.inference_mode()
def _mel_levels(windows: Tensor, sample_rate: int) -> Tensor:
    """(windows, time) -> (windows, MEL_BANDS, frames) in dB."""
    magnitudes = mel_spectrogram(windows, sample_rate, MEL_WINDOW, MEL_BANDS)
    return 20 * magnitudes.clamp(min=MEL_FLOOR).log10().transpose(1, 2)


def _window_frames(codec: LatentCodec) -> int:
    return max(2, round(WINDOW_SECONDS * codec.frame_rate))


def _query_frames(codec: LatentCodec) -> int:
    return _window_frames(codec) // 2


def _queries(codec: LatentCodec, waveform: Tensor, latents: Tensor) -> list[tuple[int, Tensor]]:
    """The pieces of a window, side by side, that are not silent: first frame and latents."""
    size, hop = _query_frames(codec), codec.hop_length
    firsts = range(0, latents.shape[1] - size + 1, size)
    return [
        (first, latents[:, first : first + size])
        for first in firsts
        if waveform[first * hop : (first + size) * hop].abs().max() > SILENT_PEAK
    ]
