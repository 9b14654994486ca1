"""The public class: all that a ``LatentCodec`` does, and audio to bytes and back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codec.audio.waveform import check_floating
from codec.lac.compress import compress_array
from codec.lac.decompress import decompress_array
from codec.lac.rate import RateTarget
from codec.model import checkpoint
from codec.model.latent_codec import LatentCodec
from codec.model.shipped import DEFAULT_MODEL, find_checkpoint


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
    ) -> bytes:
        """A ``.lac`` file of (channels, time) or (time,), at any sample rate in Hz, as bytes.

        ``kbps`` is a ceiling for the average of the whole file; the default is 3 per channel. A
        clip of less than 5 s may use the bytes of one of 5 s. Instead of a rate, ``quality`` from
        0 to 10 asks for one quantiser step throughout. ``max_kbps`` is a ceiling for each block.

        Raises:
            AudioError: no samples, a wrong shape, integers, or values that are not finite.
            RateError: the model cannot reach so low a rate, or it is no rate.
        """
        samples = torch.as_tensor(waveform).detach()
        check_floating(samples.dtype, samples.is_floating_point())
        array = samples.to("cpu", torch.float32).numpy()
        if array.ndim == 1:
            array = array[None]
        output = io.BytesIO()
        compress_array(self, array, sample_rate, output, RateTarget(kbps, quality, max_kbps))
        return output.getvalue()

    def decompress(
        self, data: bytes, start: float = 0.0, duration: float | None = None
    ) -> tuple[Tensor, int]:
        """Samples (channels, time) and their rate in Hz, from the bytes of a ``.lac`` file.

        ``start`` and ``duration`` are seconds; only the blocks that they touch are decoded.

        Raises:
            FormatError: not such a file, of another model, or damaged beyond use; blocks that
                are damaged alone come back as silence, with a warning.
            AudioError: ``start`` and ``duration`` select nothing.
        """
        waveform, sample_rate = decompress_array(self, data, start, duration)
        return torch.from_numpy(waveform), sample_rate


def load(name_or_path: str | Path = DEFAULT_MODEL, device: str | torch.device = "cpu") -> Codec:
    """A shipped model by name, or any checkpoint by path, in evaluation mode.

    Raises:
        CheckpointError: there is no such model, or the file is damaged.
    """
    codec = Codec(checkpoint.load(find_checkpoint(name_or_path)))
    return codec.eval().requires_grad_(False).to(device)
