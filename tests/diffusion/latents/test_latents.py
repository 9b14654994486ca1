"""Stored latents: they are the codec's, survive an interruption, and refuse another codec."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from latent_helpers import write_codec

import codec
from codec.api import Codec
from codec.errors import AudioError, CheckpointError, LacunaError
from codec.model.blocks import encode_blocks
from codec.network.config import ModelConfig
from diffusion.latents import encode
from diffusion.latents.encode import (
    check_out,
    encode_posterior,
    encode_shards,
    plan_shards,
    write_index,
)
from diffusion.latents.sets import LatentSet
from diffusion.latents.workers import encode_in_workers


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_model: ModelConfig) -> Codec:
    path = tmp_path_factory.mktemp("codec") / "tiny.safetensors"
    return codec.load(write_codec(tiny_model, path))


@pytest.fixture
def other(tmp_path: Path, tiny_model: ModelConfig) -> Codec:
    renamed = tiny_model.model_copy(update={"name": "other"})
    return codec.load(write_codec(renamed, tmp_path / "other.safetensors", seed=1))


def stored(model: Codec, folder: Path, out: Path, labels: dict[str, str] | None = None):
    out.mkdir(exist_ok=True)
    shards = plan_shards(folder, labels)
    check_out(shards, out)
    encode_shards(model, shards, out)
    return write_index(model, shards, out)


@pytest.fixture
def three_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The six recordings of one second each, two to a shard."""
    monkeypatch.setattr(encode, "SHARD_SECONDS", 2.0)


def sound(path: Path, model: Codec) -> np.ndarray:
    waveform, rate = codec.read(path)
    return codec.resample(waveform, rate, model.sample_rate)


def encoded(path: Path, model: Codec) -> torch.Tensor:
    """The latents that `lacuna encode` writes: (coded_channels, latent_dim, frames)."""
    blocks = encode_blocks(model, [sound(path, model)], skip_silence=False)
    return torch.from_numpy(np.concatenate([block.latents for block in blocks], axis=-1))


def test_mean_is_what_encode_writes_and_logvar_its_uncertainty(
    audio_folder: Path, tmp_path: Path, tiny: Codec, three_shards: None
):
    latents = stored(tiny, audio_folder, tmp_path / "latents")
    assert len(latents.index.shards) == 3
    assert [clip.path for clip in latents.clips] == [f"{n}.wav" for n in range(6)]
    for clip in latents.clips:
        expected = encoded(audio_folder / clip.path, tiny)
        assert (clip.coded_channels, clip.frames) == (len(expected), expected.shape[2])
        assert clip.seconds == 1.0
        mean, logvar = latents.posterior(clip, 0, 10_000)
        torch.testing.assert_close(mean, expected, rtol=2e-3, atol=2e-3)
        part, _ = latents.posterior(clip, 7, 20)
        assert torch.equal(part, mean[:, :, 7:27])
    # In the units of the standardised latents.
    rows = tiny.to_rows(torch.from_numpy(sound(audio_folder / clip.path, tiny))[None])[0]
    sigma = tiny.autoencoder.posterior(rows).sigma / tiny.standardizer.std
    inner = slice(40, -40)  # the ends are encoded with silence around them
    torch.testing.assert_close(
        (0.5 * logvar).exp()[..., inner], sigma[..., inner], rtol=5e-3, atol=1e-3
    )


def test_blocks_leave_no_seam(tmp_path: Path, tiny: Codec):
    """A file of several blocks gives what `lacuna encode` gives, to the precision of float16."""
    rng = np.random.default_rng(0)
    path = tmp_path / "long.wav"
    noise = 0.1 * rng.standard_normal((600 * 128 + 50, 2))
    noise[: 300 * 128, 1] = 0  # digital silence is encoded like anything else
    soundfile.write(path, noise, 16000)
    mean, logvar, seconds = encode_posterior(tiny, path)
    assert mean.shape == logvar.shape == (2, 601, 4)
    assert seconds == pytest.approx(len(noise) / 16000)
    torch.testing.assert_close(mean.mT.float(), encoded(path, tiny), rtol=2e-3, atol=2e-3)


def test_exactly_whole_blocks(tmp_path: Path, tiny: Codec):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(512 * 128), 16000)
    assert encode_posterior(tiny, tmp_path / "a.wav")[0].shape == (1, 512, 4)


def test_statistics(audio_folder: Path, tmp_path: Path, tiny: Codec):
    latents = stored(tiny, audio_folder, tmp_path / "latents")
    parts = [latents.posterior(clip, 0, 1000) for clip in latents.clips]
    mean, logvar = (torch.cat([p[i].transpose(1, 2).flatten(0, 1) for p in parts]) for i in (0, 1))
    statistics = latents.index.statistics
    assert statistics.mean == pytest.approx(mean.mean(0).tolist(), abs=1e-4)
    assert statistics.std == pytest.approx(mean.std(0).tolist(), rel=1e-2)
    assert statistics.sigma == pytest.approx((0.5 * logvar).exp().mean(0).tolist(), rel=1e-4)


def test_labels_are_folders_or_the_manifests(audio_folder: Path, tmp_path: Path, tiny: Codec):
    folder = tmp_path / "sounds"
    for number, name in enumerate(("bell", "rain")):
        (folder / name).mkdir(parents=True)
        shutil.copy(audio_folder / f"{number}.wav", folder / name / "x.wav")
    latents = stored(tiny, folder, tmp_path / "latents")
    assert latents.labels == ("bell", "rain")
    assert [(c.path, c.label) for c in latents.clips] == [
        ("bell/x.wav", "bell"),
        ("rain/x.wav", "rain"),
    ]
    chosen = {str((folder / "rain" / "x.wav").resolve()): "storm"}
    assert stored(tiny, folder, tmp_path / "other", chosen).labels == ("storm",)
    with pytest.raises(AudioError, match="manifest names none"):
        plan_shards(folder, {"/elsewhere.wav": "x"})


def test_gains_make_clips_of_their_own(audio_folder: Path, tmp_path: Path, tiny: Codec):
    out = tmp_path / "latents"
    out.mkdir()
    shards = plan_shards(audio_folder, gains_db=(0.0, -6.0))
    encode_shards(tiny, shards, out)
    latents = write_index(tiny, shards, out)
    files = sorted(audio_folder.glob("*.wav"))
    assert [clip.path for clip in latents.clips] == [f.name for f in files for _ in range(2)]
    assert [clip.gain_db for clip in latents.clips] == [0.0, -6.0] * len(files)

    quieter = tmp_path / "quieter.wav"
    waveform, rate = codec.read(files[0])
    soundfile.write(quieter, waveform.T * 10 ** (-6 / 20), rate, subtype="FLOAT")
    loud, quiet = (latents.posterior(clip, 0, 1000)[0] for clip in latents.clips[:2])
    expected = encode_posterior(tiny, quieter)[0].float().mT
    torch.testing.assert_close(quiet, expected, rtol=0, atol=2e-3)
    assert (loud - quiet).abs().max() > 0.05

    # Other gains are another plan: nothing of the old one is taken for it.
    again = stored(tiny, audio_folder, out)
    assert len(again.clips) == len(files)


def test_interrupted_run_keeps_finished_shards(
    audio_folder: Path, tmp_path: Path, tiny: Codec, three_shards: None
):
    shards = plan_shards(audio_folder)
    whole = stored(tiny, audio_folder, tmp_path / "whole")

    def interrupt(name: str, done: int, total: int) -> None:
        assert total == 6
        if done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "latents"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        encode_shards(tiny, shards, out, interrupt)
    (first,) = out.iterdir()  # the second shard was half done and left nothing
    with pytest.raises(CheckpointError, match=r"no index\.json.*`lacuna latents`"):
        LatentSet.open(out)
    kept = first.stat().st_mtime_ns
    again = stored(tiny, audio_folder, out)
    assert first.stat().st_mtime_ns == kept
    assert again.index == whole.index
    for clip in whole.clips:
        assert torch.equal(again.posterior(clip, 0, 200)[1], whole.posterior(clip, 0, 200)[1])


def test_any_number_of_processes_gives_the_same(
    audio_folder: Path, tmp_path: Path, tiny: Codec, three_shards: None
):
    shards = plan_shards(audio_folder)
    for part in (1, 0):
        encode_shards(tiny, shards[part::2], tmp_path)
    shared = write_index(tiny, shards, tmp_path)
    assert shared.index == stored(tiny, audio_folder, tmp_path / "alone").index


def test_changed_folder_is_encoded_again(
    audio_folder: Path, tmp_path: Path, tiny: Codec, three_shards: None
):
    folder, out = tmp_path / "sounds", tmp_path / "latents"
    shutil.copytree(audio_folder, folder)
    assert len(stored(tiny, folder, out).clips) == 6
    (folder / "0.wav").unlink()
    (folder / "1.wav").unlink()
    latents = stored(tiny, folder, out)
    assert [clip.path for clip in latents.clips] == [f"{n}.wav" for n in range(2, 6)]
    assert sorted(p.name for p in out.glob("shard-*")) == list(latents.index.shards)
    mean, _ = latents.posterior(latents.clips[-1], 0, 200)
    torch.testing.assert_close(mean, encoded(folder / "5.wav", tiny), rtol=2e-3, atol=2e-3)


def test_files_that_are_not_its_own_are_neither_deleted_nor_replaced(
    audio_folder: Path, tmp_path: Path, tiny: Codec, three_shards: None
):
    sounds, others, out = tmp_path / "sounds", tmp_path / "others", tmp_path / "latents"
    shutil.copytree(audio_folder, sounds)
    others.mkdir()
    for number in range(4):
        shutil.copy(audio_folder / f"{number}.wav", others / f"other{number}.wav")
    stored(tiny, sounds, out)
    foreign = out / "shard-00009.safetensors"  # another set's, with as good a name
    stored(tiny, others, tmp_path / "elsewhere")
    shutil.copy(tmp_path / "elsewhere" / "shard-00000.safetensors", foreign)
    (out / "shard-00008.safetensors").write_bytes(b"another program's")
    for number in (0, 1):
        (sounds / f"{number}.wav").unlink()
    latents = stored(tiny, sounds, out)
    assert len(latents.index.shards) == 2
    assert sorted(path.name for path in out.iterdir()) == [
        "index.json",
        *(f"shard-0000{n}.safetensors" for n in (0, 1, 8, 9)),
    ]

    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(CheckpointError, match=r"not made from these audio files.*--out"):
        stored(tiny, others, out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("name", ["shard-00000.safetensors", "index.json"])
def test_a_file_of_another_program_is_not_replaced(
    audio_folder: Path, tmp_path: Path, tiny: Codec, name: str
):
    (tmp_path / "latents").mkdir()
    (tmp_path / "latents" / name).write_bytes(b'{"of": "another program"}')
    with pytest.raises(CheckpointError, match=f"{name}.*would be replaced"):
        stored(tiny, audio_folder, tmp_path / "latents")
    assert (tmp_path / "latents" / name).read_bytes() == b'{"of": "another program"}'


def test_bad_files_are_named_in_one_warning(audio_folder: Path, tmp_path: Path, tiny: Codec):
    folder = tmp_path / "sounds"
    shutil.copytree(audio_folder, folder)
    (folder / "text.wav").write_text("no audio")
    soundfile.write(folder / "short.wav", np.ones(100), 16000)
    with pytest.warns(UserWarning, match="skipped 2 files") as caught:
        latents = stored(tiny, folder, tmp_path / "latents")
    (message,) = [str(w.message) for w in caught]
    assert "text.wav" in message
    assert "short.wav': shorter than 0.1 s" in message
    assert len(latents.clips) == 6
    for path in folder.glob("[0-9].wav"):
        path.unlink()
    with pytest.warns(match="2 files"), pytest.raises(AudioError, match="every file was skipped"):
        stored(tiny, folder, tmp_path / "nothing")


def test_another_codec_is_refused_by_both_ids(
    audio_folder: Path, tmp_path: Path, tiny: Codec, other: Codec
):
    latents = stored(tiny, audio_folder, tmp_path / "latents")
    latents.check_codec(tiny)
    for refused in (
        lambda: latents.check_codec(other),
        lambda: stored(other, audio_folder, tmp_path / "latents"),
    ):
        with pytest.raises(CheckpointError) as caught:
            refused()
        for text in (
            f"'tiny', latent_id {tiny.latent_id}",
            f"'other', latent_id {other.latent_id}",
        ):
            assert text in str(caught.value)


def test_damaged_sets(audio_folder: Path, tmp_path: Path, tiny: Codec):
    with pytest.raises(CheckpointError, match="holds no finished latents"):
        LatentSet.open(tmp_path)
    out = tmp_path / "latents"
    stored(tiny, audio_folder, out)
    index = (out / "index.json").read_text()

    facts = json.loads(index)
    facts["clips"][0]["frames"] += 1_000_000
    (out / "index.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=r"do not fit together at '0\.wav'"):
        LatentSet.open(out)
    (out / "index.json").write_text(index[:-10])
    with pytest.raises(CheckpointError, match=r"index\.json' is damaged"):
        LatentSet.open(out)
    (out / "index.json").write_text(index)
    shard = out / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="missing or damaged"):
        LatentSet.open(out)
    stored(tiny, audio_folder, out)  # as the message says: the same command mends it
    LatentSet.open(out)


def test_processes_of_this_machine_give_the_same(
    audio_folder: Path, tmp_path: Path, tiny_model: ModelConfig, three_shards: None
):
    path = write_codec(tiny_model, tmp_path / "tiny.safetensors")
    tiny = codec.load(path)
    shards, out = plan_shards(audio_folder), tmp_path / "latents"
    out.mkdir()
    seen: list[tuple[str, int, int]] = []
    encode_in_workers(str(path), shards, out, 2, lambda *done: seen.append(done))
    assert {name for name, *_ in seen} == {shard.name for shard in shards}
    assert [numbers for _, *numbers in seen] == [[2, 6], [4, 6], [6, 6]]
    alone = stored(tiny, audio_folder, tmp_path / "alone")
    assert write_index(tiny, shards, out).index == alone.index


def test_a_process_that_dies_is_told(audio_folder: Path, tmp_path: Path):
    """As one does when memory runs out; here there is no codec to start with."""
    shards = plan_shards(audio_folder)
    with pytest.raises(LacunaError, match=r"ended before its time.*fewer --workers"):
        encode_in_workers(str(tmp_path / "none"), shards, tmp_path, 1, lambda *_: None)
