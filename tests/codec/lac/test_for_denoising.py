"""A file for a decoder that denoises says of each block whether that is any good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from codec_helpers import BLOCK, Lacuna, music, write_wav
from untrained import layered_codec

from codec.api import Codec
from codec.errors import LacunaError
from codec.lac import denoising
from codec.lac.denoising import Denoiser, QuantisedBlock
from codec.lac.reader import LacReader
from codec.model.blocks import encode_blocks

SOUND = music(3.5 * BLOCK / 16000, 16000, 2)
SOUND[:, 2 * BLOCK : 3 * BLOCK] = 0


def knowing(codec: Codec, spoilt: set[int]) -> Denoiser:
    """Gives back the latents that were quantised, but the wrong ends of cells in some blocks."""
    true = [block.latents for block in encode_blocks(codec, [SOUND])]

    def denoise(block: QuantisedBlock, steps: int) -> np.ndarray:
        index = block.first_frame // 256
        latents = true[index][list(block.channels)]
        wrong = np.where(latents > block.latents, block.low, block.high)
        return wrong if index in spoilt or steps == 5 else latents

    return denoise


def switches(codec: Codec, data: bytes) -> list[bool]:
    return [block is not None and block.denoise for block in LacReader(data).blocks(codec.coder)]


@pytest.mark.parametrize("spoilt", [set(), {0}, {1, 3}])
def test_blocks_that_come_out_worse_are_switched_off(tiny_codec: Codec, spoilt: set[int]) -> None:
    denoise = knowing(tiny_codec, spoilt)
    how = {"quality": 0, "denoiser": denoise}
    data = tiny_codec.compress(SOUND, 16000, for_denoising=2, **how)
    assert switches(tiny_codec, data) == [index not in spoilt for index in range(4)]
    plain = tiny_codec.compress(SOUND, 16000, quality=0)
    assert len(data) == len(plain)
    assert np.array_equal(tiny_codec.decompress(data)[0], tiny_codec.decompress(plain)[0])


def test_it_counts_in_how_many_steps(tiny_codec: Codec) -> None:
    denoise = knowing(tiny_codec, set())
    data = tiny_codec.compress(SOUND, 16000, quality=0, for_denoising=5, denoiser=denoise)
    assert switches(tiny_codec, data) == [False, False, True, False]  # silence has nothing to lose


def test_without_steps_nothing_is_switched_off(tiny_codec: Codec) -> None:
    plain = tiny_codec.compress(SOUND, 16000, quality=0)
    assert tiny_codec.compress(SOUND, 16000, quality=0, for_denoising=0) == plain


def test_without_a_denoiser_it_says_so(
    tiny_codec: Codec,
    monkeypatch: pytest.MonkeyPatch,
    lacuna: Lacuna,
    tmp_path: Path,
    tiny_path: Path,
) -> None:
    monkeypatch.setattr(denoising, "entry_points", lambda group: [])
    with pytest.raises(LacunaError, match=r"no denoiser.*with 0 steps"):
        tiny_codec.compress(SOUND, 16000, for_denoising=2)
    with pytest.raises(LacunaError, match="give for_denoising as well"):
        tiny_codec.compress(SOUND, 16000, denoiser=lambda block, steps: block.latents)
    source = write_wav(tmp_path / "in.wav")
    how = ("-m", tiny_path, "--for-denoising", 2)
    error = lacuna.fails("compress", source, tmp_path / "out.lac", *how)
    assert "there is no denoiser for the latents of 'tiny'" in error
    assert not (tmp_path / "out.lac").exists()


def test_a_file_with_a_waveform_layer_has_nothing_to_denoise() -> None:
    def still(block: QuantisedBlock, steps: int) -> np.ndarray:
        return block.latents

    codec, sound = layered_codec(), music(1.0, 44100, 1)
    with pytest.raises(LacunaError, match=r"more than 2.5 kbps per channel.*not denoised"):
        codec.compress(sound, 44100, kbps=20, for_denoising=2, denoiser=still)
    low = codec.compress(sound, 44100, quality=0, for_denoising=2, denoiser=still)
    assert not any(switches(codec, low))  # as good is not better
