"""The front door: audio to ``.lac`` and back, with one codec or with whichever a file needs.

``Codec`` is one model, ``Models`` loads the one that a file was made with, and ``compress`` and
``decompress`` are its two methods, for people who only want that.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codec.errors import FormatError
from codec.lac.compress import compress_array
from codec.lac.decompress import decompress_array
from codec.lac.denoising import Denoiser
from codec.lac.header import LacHeader
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader
from codec.model import checkpoint
from codec.model.latent_codec import LatentCodec
from codec.model.shipped import DEFAULT_MODEL, find_checkpoint, find_coding_id
from codec.model.streams import decode_pieces, encode_pieces


class Codec(LatentCodec):
    """A trained codec: tensors to tensors (``LatentCodec``), and audio to ``.lac`` and back."""

    def compress(
        self,
        waveform: Tensor | np.ndarray,
        sample_rate: int,
        kbps: float | None = None,
        *,
        quality: float | None = None,
        max_kbps: float | None = None,
        search: int | None = None,
        for_denoising: int | None = None,
        denoiser: Denoiser | str | Path | None = None,
    ) -> bytes:
        """A ``.lac`` file of (channels, time) or (time,), at any sample rate in Hz, as bytes.

        ``kbps`` is a ceiling for the average of the whole file; the default is 3 per channel. In a
        clip of less than 5 s a file's fixed parts, some 100 bytes, do not count in full. Instead of
        a rate, ``quality`` from 0 to 10 asks for one quantiser step throughout. ``max_kbps`` is a
        ceiling for each block. ``search`` is the number of steps of gradient descent by which the
        latents of a file that is nothing else, up to 2.5 kbps per channel, are improved; 0 is none.
        A model of tokens has fewer books for a lower rate, and all of them by default.
        ``for_denoising`` is the number of ``steps`` in which the file will be decompressed, by
        ``denoiser``: blocks that would come out worse are then decoded as they are.

        Raises:
            AudioError: no samples, a wrong shape, integers, or values that are not finite.
            RateError: the model cannot reach so low a rate, or it is no rate, or files of this rate
                are not denoised.
            LacunaError: there is no denoiser.
        """
        output, target = io.BytesIO(), RateTarget(kbps, quality, max_kbps, search)
        compress_array(
            self,
            waveform,
            sample_rate,
            output,
            target,
            for_denoising=for_denoising,
            denoiser=denoiser,
        )
        return output.getvalue()

    def decompress(
        self,
        data: bytes | bytearray | memoryview,
        start: float = 0.0,
        duration: float | None = None,
        *,
        steps: int | None = None,
        denoiser: Denoiser | str | Path | None = None,
    ) -> tuple[Tensor, int]:
        """Samples (channels, time) and their rate in Hz, from the bytes of a ``.lac`` file.

        Args:
            start, duration: seconds; only the blocks that they touch are decoded.
            steps: of denoising by a diffusion model before decoding, 0 (off) to 100; without it 1
                where there is one, and none in a file with a waveform layer.
            denoiser: what is to do that (``diffusion.LatentDenoiser``), or its weights by name or
                path; without it a shipped model of these latents.

        Raises:
            FormatError: not such a file, of another model, or damaged beyond use; blocks that
                are damaged alone come back as silence, with a warning.
            AudioError: ``start`` and ``duration`` select nothing.
            LacunaError: there is no denoiser for the ``steps``.
        """
        waveform, sample_rate = decompress_array(
            self, data, start, duration, steps=steps, denoiser=denoiser
        )
        return torch.from_numpy(waveform), sample_rate

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write a checkpoint with the weights as they are now, which ``load`` reads.

        Its ``latent_id`` and ``coding_id`` are made anew: where the encoder was trained on, files
        and latents of the one no longer pass for the other's; where only the decoder was, old files
        open. Weights are stored as float16. The statistics, entropy tables and useful steps stay
        those that were loaded: right, if no longer the best, for an encoder that has changed.

        Args:
            path: a .safetensors file.
            force: replace what is there.

        Raises:
            CheckpointError: a weight is not finite: the training has diverged.
            LacunaError: there is such a file already, or it cannot be written.
        """
        checkpoint.save(self.checkpoint(), path, force=force)

    def encode_stream(
        self, pieces: Iterable[Tensor | np.ndarray], sample_rate: int | None = None
    ) -> Iterator[Tensor]:
        """Latents of a recording of any length, in memory that does not grow with it.

        Args:
            pieces: (channels, any length) each, of one recording, one after the other.
            sample_rate: theirs in Hz, if it is not the codec's.

        Yields:
            (coded_channels, latent_dim, up to 256 frames), on the CPU, without gradients: joined,
            what ``encode`` gives of the whole but for its first and last frames, which here have
            silence around them.

        Raises:
            AudioError: integers, values that are not finite, another shape or channel count.
        """
        return encode_pieces(self, pieces, sample_rate or self.sample_rate)

    def decode_stream(
        self, latents: Iterable[Tensor | np.ndarray], channels: int | None = None
    ) -> Iterator[Tensor]:
        """The waveform of ``encode_stream``'s latents at ``sample_rate``, piece by piece.

        Args:
            latents: (coded_channels, latent_dim, any frames) each, one after the other.
            channels: 1 for mono from a network of two channels; otherwise it is known.

        Yields:
            (channels, up to 256 * hop_length), frames * hop_length in all, on the CPU.

        Raises:
            LacunaError: another shape, or values that are not finite.
        """
        return decode_pieces(self, latents, channels)


def load(name_or_path: str | Path = DEFAULT_MODEL, device: str | torch.device = "cpu") -> Codec:
    """A shipped model by name, or any checkpoint by path, in evaluation mode and frozen.

    Args:
        name_or_path: as `lacuna models` lists them; or a .safetensors file.
        device: cpu, cuda, cuda:1, mps; or meta, for shapes without numbers.

    Raises:
        CheckpointError: there is no such model, or the file is damaged or no checkpoint.
    """
    with torch.device("cpu"):  # whatever the program's default is
        codec = Codec(checkpoint.load(find_checkpoint(name_or_path)))
    return codec.eval().requires_grad_(False).to(device)


class Models:
    """Chooses a model as the command line does, and keeps those that it has loaded.

    Args:
        model: a shipped model's name or a checkpoint's path, for making files and reading them;
            without it files are made with the default and read with any that ships.
        device: where the networks run.
    """

    def __init__(self, model: str | Path | None = None, device: str | torch.device = "cpu") -> None:
        self.model, self.device = model, device
        self._loaded: dict[Path, Codec] = {}

    def load(self, name_or_path: str | Path) -> Codec:
        """``load``, once for each checkpoint."""
        path = find_checkpoint(name_or_path)
        if path not in self._loaded:
            self._loaded[path] = load(path, self.device)
        return self._loaded[path]

    def for_compressing(self) -> Codec:
        """The model that files are made with."""
        return self.load(DEFAULT_MODEL if self.model is None else self.model)

    def for_file(self, header: LacHeader) -> Codec:
        """The model that a file was made with.

        Raises:
            FormatError: it does not ship with this version, and none was given.
        """
        if self.model is not None:
            return self.load(self.model)
        path = find_coding_id(header.coding_id.hex())
        if path is None:
            raise FormatError(
                f"the file was made with the model '{header.model}', coding_id "
                f"{header.coding_id.hex()}, which does not ship with this version; give its "
                f"checkpoint: --model PATH, or codec.load(PATH).decompress(data) in Python. "
                f"`lacuna models` lists those that ship"
            )
        return self.load(path)

    def compress(
        self,
        waveform: Tensor | np.ndarray,
        sample_rate: int,
        kbps: float | None = None,
        *,
        quality: float | None = None,
        max_kbps: float | None = None,
        search: int | None = None,
        for_denoising: int | None = None,
        denoiser: Denoiser | str | Path | None = None,
    ) -> bytes:
        """``Codec.compress`` with the model that files are made with."""
        return self.for_compressing().compress(
            waveform,
            sample_rate,
            kbps,
            quality=quality,
            max_kbps=max_kbps,
            search=search,
            for_denoising=for_denoising,
            denoiser=denoiser,
        )

    def decompress(
        self,
        data: bytes | bytearray | memoryview,
        start: float = 0.0,
        duration: float | None = None,
        *,
        steps: int | None = None,
        denoiser: Denoiser | str | Path | None = None,
    ) -> tuple[Tensor, int]:
        """``Codec.decompress`` with the model that the file was made with."""
        model = self.for_file(LacReader(data).header)
        return model.decompress(data, start, duration, steps=steps, denoiser=denoiser)


@functools.cache
def _shipped(device: str) -> Models:
    return Models(device=device)


def compress(
    waveform: Tensor | np.ndarray,
    sample_rate: int,
    kbps: float | None = None,
    *,
    quality: float | None = None,
    max_kbps: float | None = None,
    search: int | None = None,
    for_denoising: int | None = None,
    denoiser: Denoiser | str | Path | None = None,
    device: str = "cpu",
) -> bytes:
    """Audio as the bytes of a ``.lac`` file, with the default model.

    Args:
        waveform: (channels, time) or (time,), floating-point with full scale at +-1.
        sample_rate: Hz; any.
        kbps: ceiling for the average of the whole file; 3 per channel unless given. In a
            clip of less than 5 s a file's fixed parts do not count in full.
        quality: instead of a rate: 0 (smallest) to 10 (best), one quantiser step throughout.
        max_kbps: ceiling for each block.
        search: as for ``Codec.compress``: steps by which latents are improved, 0 is none.
        for_denoising, denoiser: as for ``Codec.compress``.
        device: where the network runs: cpu, cuda, cuda:1, mps.

    Raises:
        AudioError: no samples, a wrong shape, integers, or values that are not finite.
        RateError: the model cannot reach so low a rate with this audio, or it is no rate.
    """
    models = _shipped(device)
    return models.compress(
        waveform,
        sample_rate,
        kbps,
        quality=quality,
        max_kbps=max_kbps,
        search=search,
        for_denoising=for_denoising,
        denoiser=denoiser,
    )


def decompress(
    data: bytes | bytearray | memoryview,
    start: float = 0.0,
    duration: float | None = None,
    *,
    steps: int | None = None,
    denoiser: Denoiser | str | Path | None = None,
    device: str = "cpu",
) -> tuple[Tensor, int]:
    """Samples (channels, time) and their rate in Hz, from the bytes of any ``.lac`` file.

    Args:
        start, duration: seconds; only the blocks that they touch are decoded.
        steps, denoiser: as for ``Codec.decompress``: denoising by a diffusion model, 0 is off.
        device: where the networks run.

    Raises:
        FormatError: not such a file, damaged beyond use, or made with a model that does not ship;
            blocks that are damaged alone come back as silence, with a warning.
        AudioError: ``start`` and ``duration`` select nothing.
        LacunaError: there is no denoiser for the ``steps``.
    """
    return _shipped(device).decompress(data, start, duration, steps=steps, denoiser=denoiser)
