"""Checkpoints: what is kept, what changes latent_id and coding_id, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_coder import fixed_context
from safetensors import safe_open
from safetensors.torch import save_file
from untrained import layered_codec

from codec.api import Codec, load
from codec.entropy.context_model import ContextModel
from codec.entropy.static_tables import EntropyTables
from codec.errors import CheckpointError, FormatError
from codec.lac.reader import LacReader
from codec.model import checkpoint
from codec.model.checkpoint import Checkpoint
from codec.model.shipped import find_checkpoint
from codec.network.config import ModelConfig


def rewritten(
    source: Path,
    target: Path,
    change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None],
) -> Path:
    """A copy of a checkpoint whose tensors and metadata ``change`` has altered in place."""
    with safe_open(source, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    save_file(tensors, target, metadata)
    return target


def _ids(model: Checkpoint | Codec) -> tuple[str, str | None]:
    return model.latent_id, model.coding_id


@pytest.fixture
def loaded(tiny_path: Path) -> Checkpoint:
    return checkpoint.load(tiny_path)


def test_all_comes_back(tiny_path: Path, tmp_path: Path, loaded: Checkpoint):
    again = tmp_path / "again.safetensors"
    checkpoint.save(loaded, again)
    second = checkpoint.load(again)
    assert second.config == loaded.config
    assert second.latent_id == loaded.latent_id == load(tiny_path).latent_id
    assert second.coding_id == loaded.coding_id == load(tiny_path).coding_id
    assert second.useful == loaded.useful
    assert second.provenance == loaded.provenance == {"note": "untrained"}
    x = torch.randn(1, 2, 1000)
    assert torch.equal(load(again)(x), load(tiny_path)(x))
    assert load(again).compress(x[0], 16000) == load(tiny_path).compress(x[0], 16000)


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_others_may_read_it(tmp_path: Path, loaded: Checkpoint):
    before = os.umask(0o022)
    try:
        checkpoint.save(loaded, tmp_path / "shared.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "shared.safetensors").stat().st_mode & 0o777 == 0o644


def test_loading_gives_a_frozen_network_in_evaluation_mode(tiny_path: Path):
    codec = load(str(tiny_path))
    assert not codec.training
    assert not any(p.requires_grad for p in codec.parameters())
    assert all(p.dtype == torch.float32 for p in codec.parameters())


@pytest.mark.skipif(sys.platform != "linux", reason="reads what /proc says of this process")
def test_nothing_of_the_file_stays_in_memory(context_path: Path):
    loaded = checkpoint.load(context_path)
    assert loaded.context is not None
    assert str(context_path) not in Path("/proc/self/maps").read_text()


def test_a_trained_decoder_keeps_both_ids(tmp_path: Path, tiny_codec, loaded: Checkpoint):
    before = _ids(loaded)
    with torch.no_grad():
        loaded.autoencoder.decoder.head.weight.mul_(1.1)
    path = tmp_path / "decoder.safetensors"
    checkpoint.save(replace(loaded, provenance={"phase": 2}), path)
    codec = load(path)
    assert _ids(codec) == before
    # Old files open, and sound different.
    data = tiny_codec.compress(torch.randn(1, 4000), 16000)
    old, new = tiny_codec.decompress(data)[0], codec.decompress(data)[0]
    assert old.shape == new.shape
    assert not torch.allclose(old, new)


def test_a_larger_decoder_and_another_name_keep_both_ids(loaded: Checkpoint):
    network = loaded.config.network.model_copy(update={"decoder_depths": (2, 2)})
    config = loaded.config.model_copy(update={"network": network, "name": "other"})
    assert _ids(replace(loaded, config=config)) == _ids(loaded)


def _encoder(c: Checkpoint) -> Checkpoint:
    with torch.no_grad():
        next(c.autoencoder.encoder.parameters()).flatten()[0] += 0.01
    return c


def _statistics(name: str) -> Callable[[Checkpoint], Checkpoint]:
    def change(c: Checkpoint) -> Checkpoint:
        values = getattr(c.statistics, name) * 1.0001
        return replace(c, statistics=replace(c.statistics, **{name: values}))

    return change


def _tables(c: Checkpoint) -> Checkpoint:
    arrays = {key: array.copy() for key, array in c.tables.to_arrays().items()}
    arrays["sigma_units"][0] += 1
    return replace(c, tables=EntropyTables.from_arrays(arrays))


def _sample_rate(c: Checkpoint) -> Checkpoint:
    return replace(c, config=c.config.model_copy(update={"sample_rate": 22050}))


@pytest.mark.parametrize(
    "change",
    [
        _encoder,
        _statistics("mean"),
        _statistics("std"),
        _statistics("sigma"),
        _sample_rate,
    ],
)
def test_what_fixes_the_meaning_of_latents_changes_both_ids(
    loaded: Checkpoint, change: Callable[[Checkpoint], Checkpoint]
):
    latent_id, coding_id = _ids(loaded)
    changed = change(loaded)
    assert changed.latent_id != latent_id
    assert changed.coding_id != coding_id


def test_a_map_changes_the_coding_id_alone_and_a_renderer_neither() -> None:
    codec = layered_codec()
    latent_id, coding_id = _ids(codec)
    with torch.no_grad():
        codec.autoencoder.decoder.renderer.head.bias += 1
    assert _ids(codec) == (latent_id, coding_id)
    with torch.no_grad():
        codec.autoencoder.decoder.map.head.bias += 1
    assert codec.latent_id == latent_id
    assert codec.coding_id != coding_id


def test_entropy_tables_change_the_coding_id_alone(loaded: Checkpoint):
    changed = _tables(loaded)
    assert changed.latent_id == loaded.latent_id
    assert changed.coding_id != loaded.coding_id


def test_without_tables_there_is_a_latent_id_alone(tmp_path: Path, loaded: Checkpoint):
    path = tmp_path / "uncalibrated.safetensors"
    checkpoint.save(replace(loaded, tables=None, useful=None), path)
    again = checkpoint.load(path)
    assert _ids(again) == (loaded.latent_id, None)
    with pytest.raises(CheckpointError, match="no entropy tables yet"):
        _ = load(path).coding_id
    claimed = rewritten(path, tmp_path / "claimed.safetensors", _set(coding_id="0" * 16))
    with pytest.raises(CheckpointError, match="its tensors give coding_id None"):
        load(claimed)


def test_ids_are_pinned_to_tensors_and_time(loaded: Checkpoint):
    """A new field with a default in the config must leave the ids of older models alone."""
    before = _ids(loaded)

    class TomorrowsConfig(ModelConfig):
        a_new_field: int = 0

    config = TomorrowsConfig(**loaded.config.model_dump())
    assert _ids(replace(loaded, config=config)) == before


def test_a_diverged_network_is_not_saved(tmp_path: Path, loaded: Checkpoint):
    for value in (float("nan"), 1e6):  # beyond float16
        with torch.no_grad():
            loaded.autoencoder.decoder.head.bias[0] = value
        with pytest.raises(CheckpointError, match=r"decoder\.head\.bias.*diverged"):
            checkpoint.save(loaded, tmp_path / "nan.safetensors")
    assert list(tmp_path.iterdir()) == []


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path):
    fired = tmp_path / "fired"
    for name, dump in (
        ("plain.pkl", lambda bomb, path: path.write_bytes(pickle.dumps(bomb))),
        ("torch.pt", lambda bomb, path: torch.save({"weights": bomb}, path)),
        ("disguised.safetensors", lambda bomb, path: torch.save(bomb, path)),
    ):
        path = tmp_path / name
        dump(_Bomb(fired), path)
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load(path)
    assert not fired.exists()


@pytest.mark.parametrize("content", [b"", b"text, not tensors", bytes(100), b"\xff" * 100])
def test_what_is_not_safetensors_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors' is not a safetensors file"):
        load(path)


@pytest.mark.parametrize("keep", [0.01, 0.5, 0.999])
def test_a_cut_file_is_refused(tiny_path: Path, tmp_path: Path, keep: float):
    data = tiny_path.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(CheckpointError, match="not a safetensors file, or is damaged"):
        load(path)


def _set(**values: Any) -> Callable[[dict, dict], None]:
    return lambda tensors, metadata: metadata.update(values)


def _config(**values: Any) -> Callable[[dict, dict], None]:
    def change(tensors: dict, metadata: dict) -> None:
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **values})

    return change


_USEFUL = '{"finest_step": 1, "coarsest_step": 9, "low_kbps": 1.0, "high_kbps": 2.0}'


def _fill(key: str, value: float) -> Callable[[dict, dict], None]:
    return lambda tensors, metadata: tensors[key].view(-1)[:1].fill_(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.clear(), "its format is 'not given', expected 'lacuna-codec-2'"),
        (_set(format="lacuna-diffusion-2"), "its format is 'lacuna-diffusion-2'"),
        (lambda t, m: m.pop("config"), "config"),
        (_set(config="{"), "damaged or of another version"),
        (_set(config="[1]"), "damaged or of another version"),
        (_set(useful="7"), "damaged or of another version"),
        (_set(useful='{"finest_step": 1}'), "damaged or of another version"),
        (_set(useful=_USEFUL.replace("9", "1024")), r"useful steps 1\.\.1024"),
        (_set(provenance="{"), "damaged or of another version"),
        (_config(colour="red"), "unknown key 'colour'"),
        (_config(latent_dim=5), "size mismatch"),
        (_config(sample_rate=-1), "sample_rate"),
        (_config(sample_rate=48000), "its tensors give latent_id"),
        (_set(latent_id="0" * 16), "latent_id .* its header says 0000000000000000"),
        (_set(coding_id="0" * 16), "coding_id .* its header says 0000000000000000"),
        (lambda t, m: m.pop("coding_id"), "coding_id .* its header says None"),
        (_fill("autoencoder.decoder.head.bias", float("nan")), r"not finite.*decoder\.head\.bias"),
        (_fill("autoencoder.encoder.embed.bias", float("inf")), r"not finite.*encoder\.embed"),
        (_fill("latents.mean", float("nan")), "latents.mean"),
        (_fill("latents.std", 0.0), "latents.std"),
        (_fill("latents.sigma", -1.0), "latents.sigma"),
        (lambda t, m: t.pop("latents.std"), "std"),
        (lambda t, m: t.update({"latents.mean": torch.zeros(3)}), r"latents.mean.*\(3,\)"),
        (_fill("entropy.histogram", 0), "entropy tables hold"),
        (lambda t, m: t.pop("entropy.sigma_units"), "sigma_units"),
        (lambda t, m: t.pop("autoencoder.encoder.embed.weight"), r"encoder\.embed\.weight"),
        (lambda t, m: t.update({"autoencoder.extra": torch.zeros(1)}), "extra"),
    ],
)
def test_tampered_checkpoints_are_refused(
    tiny_path: Path, tmp_path: Path, change: Callable[[dict, dict], Any], message: str
):
    path = rewritten(tiny_path, tmp_path / "changed.safetensors", change)
    with pytest.raises(CheckpointError, match=message) as error:
        load(path)
    assert "changed.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------ context models


@pytest.fixture
def with_context(loaded: Checkpoint) -> Checkpoint:
    return replace(loaded, context=ContextModel(fixed_context(4).arrays, loaded.tables))


@pytest.fixture
def context_path(with_context: Checkpoint, tmp_path: Path) -> Path:
    checkpoint.save(with_context, tmp_path / "context.safetensors")
    return tmp_path / "context.safetensors"


def test_a_context_model_comes_back_and_codes(with_context: Checkpoint, context_path: Path):
    again = checkpoint.load(context_path)
    assert _ids(again) == _ids(with_context)
    assert again.context is not None
    for name, array in fixed_context(4).arrays.items():
        assert again.context.arrays[name].dtype == array.dtype
        assert (again.context.arrays[name] == array).all()
    codec = load(context_path)
    assert codec.coder is codec.context
    sound = torch.randn(2, 9000)
    data = codec.compress(sound, 16000, kbps=40.0)
    assert LacReader(data).header.context_coded
    assert data == Codec(with_context).compress(sound, 16000, kbps=40.0)
    assert codec.decompress(data)[0].shape == sound.shape


def test_a_context_model_changes_the_coding_id_alone(loaded: Checkpoint, with_context: Checkpoint):
    arrays = {name: array.copy() for name, array in fixed_context(4).arrays.items()}
    arrays["bias2"][3, 7] += 1
    changed = replace(loaded, context=ContextModel(arrays, loaded.tables))
    assert len({loaded.coding_id, with_context.coding_id, changed.coding_id}) == 3
    assert len({loaded.latent_id, with_context.latent_id, changed.latent_id}) == 1


def test_a_file_that_needs_a_context_model_the_checkpoint_lacks(
    tiny_codec: Codec, context_path: Path
):
    data = load(context_path).compress(torch.randn(1, 3000), 16000, kbps=40.0)
    forged = bytearray(data)
    forged[26:34] = bytes.fromhex(tiny_codec.coding_id)
    length = int.from_bytes(forged[6:8], "little")
    forged[length - 4 : length] = zlib.crc32(forged[: length - 4]).to_bytes(4, "little")
    with pytest.raises(FormatError, match="context model, which this checkpoint of 'tiny' lacks"):
        tiny_codec.decompress(bytes(forged))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("context.bias2"), "bias2"),
        (lambda t, m: t.update({"context.extra": torch.zeros(1)}), "extra"),
        (lambda t, m: t.update({"context.weight1": torch.zeros(4, 27, 32)}), r"weight1.*float32"),
        (_fill("context.shape", -5), "shape sums to"),
        (_fill("context.weight3", 1), "its tensors give coding_id"),
    ],
)
def test_tampered_context_models_are_refused(
    context_path: Path, tmp_path: Path, change: Callable[[dict, dict], Any], message: str
):
    path = rewritten(context_path, tmp_path / "changed.safetensors", change)
    with pytest.raises(CheckpointError, match=message) as error:
        load(path)
    assert "changed.safetensors" in str(error.value)


def test_unknown_names_list_what_there_is(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no model 'nonesuch'.*shipped name"):
        find_checkpoint("nonesuch")
    with pytest.raises(CheckpointError, match="no model"):
        load(tmp_path)


def test_a_codec_needs_no_file(loaded: Checkpoint):
    codec = Codec(loaded)
    assert codec.decompress(codec.compress(torch.zeros(1, 10) + 0.1, 16000))[0].shape == (1, 10)
