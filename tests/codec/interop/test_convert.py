"""``lacuna convert`` and what it says of files that are not what they should be."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_helpers import Lacuna
from published import (
    DIFFUSERS_CONFIG,
    TOOLS_CONFIG,
    changed,
    tools_weights,
    write_diffusers,
    write_tools,
)
from safetensors.torch import save_file
from torch import Tensor

from codec.api import load
from codec.errors import CheckpointError, LacunaError
from codec.interop import weights as weights_module
from codec.interop.convert import Converted, convert

Weights = dict[str, Tensor]


def test_the_command(lacuna: Lacuna, tmp_path: Path) -> None:
    folder = write_diffusers(tmp_path / "vae", tools_weights())
    result = lacuna("convert", folder, tmp_path / "mine.safetensors")
    assert result.code == 0
    assert "diffusers layout" in result.stderr
    assert "16000 Hz, 4 latents at 2000.00 Hz" in result.stderr
    assert "lacuna calibrate" in result.stderr
    codec = load(tmp_path / "mine.safetensors")
    assert codec.config.name == "mine"
    assert codec.config.channels == 2
    again = lacuna("convert", folder, tmp_path / "mine.safetensors")
    assert again.code == 1
    assert "already exists" in again.stderr


def test_a_config_and_weights_that_lie_elsewhere(lacuna: Lacuna, tmp_path: Path) -> None:
    (tmp_path / "my_vae.json").write_text(json.dumps(TOOLS_CONFIG))
    torch.save({"state_dict": tools_weights()}, tmp_path / "last.ckpt")
    out = tmp_path / "out.safetensors"
    result = lacuna(
        "convert", tmp_path / "my_vae.json", out, "--weights", tmp_path / "last.ckpt",
        "--name", "other",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert load(out).config.name == "other"
    assert lacuna("convert", tmp_path / "my_vae.json", out, "-f").code == 1  # no weights beside it


def _prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def as_diffusion(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a diffusion model that has the autoencoder as its pretransform."""
    pretransform = {"type": "autoencoder", "iterate_batch": True, "config": config["model"]}
    return {
        "model_type": "diffusion_cond",
        "sample_rate": config["sample_rate"],
        "model": {"pretransform": pretransform, "diffusion": {"type": "dit"}},
    }


OTHERS = {
    "model.model.transformer.weight": torch.zeros(3),
    "conditioner.conditioners.prompt.weight": torch.zeros(2),
    "discriminator.layers.0.weight": torch.zeros(2),
}


@pytest.mark.parametrize(
    ("prefix", "diffusion"),
    [
        ("", False),
        ("autoencoder.", False),
        ("pretransform.model.", True),
        ("diffusion.pretransform.model.", True),
    ],
)
@pytest.mark.parametrize("pickled", [False, True])
def test_prefixes_of_stable_audio_tools(
    prefix: str, diffusion: bool, pickled: bool, tmp_path: Path
) -> None:
    """In training and exported, alone and within a diffusion model, beside other networks."""
    weights = tools_weights()
    plain = convert(write_tools(tmp_path / "plain", weights), name="x")
    config = as_diffusion(TOOLS_CONFIG) if diffusion else TOOLS_CONFIG
    tensors = {**OTHERS, **_prefixed(prefix, weights)}
    folder = write_tools(tmp_path / "other", tensors, config, pickled=pickled)
    converted = convert(folder, name="x")
    assert converted.checkpoint.latent_id == plain.checkpoint.latent_id
    assert (converted.prefix, converted.others) == (prefix, 3)


def test_the_average_of_a_training_run_is_taken(tmp_path: Path) -> None:
    """As stable-audio-tools' own export does."""
    average, last = tools_weights(1), tools_weights(2)
    tensors = {
        **_prefixed("autoencoder.", last),
        **_prefixed("autoencoder_ema.ema_model.", average),
        **_prefixed("autoencoder_ema.online_model.", last),
        "autoencoder_ema.step": torch.tensor(5),
    }
    converted = convert(write_tools(tmp_path / "run", tensors, pickled=True), name="x")
    expected = convert(write_tools(tmp_path / "plain", average), name="x")
    assert converted.prefix == "autoencoder_ema.ema_model."
    assert converted.checkpoint.latent_id == expected.checkpoint.latent_id


def test_a_pipeline_s_folder_has_its_vae_below(tmp_path: Path) -> None:
    write_diffusers(tmp_path / "pipeline" / "vae", tools_weights())
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    assert convert(tmp_path / "pipeline", name="x").layout == "diffusers"


@pytest.mark.parametrize("new_names", [False, True])
def test_weight_norm_stored_otherwise(new_names: bool, tmp_path: Path) -> None:
    """Folded into one weight, or under the names that newer versions of torch give the two."""
    weights, other = tools_weights(), {}
    for key, value in weights.items():
        module = key.removesuffix(".weight_g")
        if key.endswith(".weight_v"):
            continue
        if module == key:
            other[key] = value
            continue
        direction = weights[f"{module}.weight_v"]
        if new_names:
            other[f"{module}.parametrizations.weight.original0"] = value
            other[f"{module}.parametrizations.weight.original1"] = direction
        else:
            norm = direction.flatten(1).norm(dim=1)[:, None, None]
            other[f"{module}.weight"] = direction * value / norm
    first = load_codec(convert(write_tools(tmp_path / "a", weights), name="x"))
    second = load_codec(convert(write_tools(tmp_path / "b", other), name="x"))
    x = 0.3 * torch.randn(1, 2, 400)
    torch.testing.assert_close(second(x), first(x), rtol=1e-4, atol=1e-5)


def load_codec(converted: Converted) -> torch.nn.Module:
    from codec.api import Codec

    return Codec(converted.checkpoint).requires_grad_(False)


def test_half_precision_is_read(tmp_path: Path) -> None:
    halves = {key: value.half() for key, value in tools_weights().items()}
    converted = convert(write_tools(tmp_path / "a", halves), name="x")
    assert all(p.dtype == torch.float32 for p in converted.checkpoint.autoencoder.parameters())


# ------------------------------------------------------------------------------- what is refused

CONV = "encoder.layers.1.layers.4"


def _without(key: str) -> Callable[[Weights], Weights]:
    return lambda weights: {k: v for k, v in weights.items() if k != key}


def _with(key: str, value: Tensor) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, key: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without(f"{CONV}.weight_v"), rf"misses {CONV}\.weight_v;"),
        (_without(f"{CONV}.bias"), rf"misses {CONV}\.bias"),
        (_without("decoder.layers.3.beta"), r"misses decoder\.layers\.3\.beta"),
        (_with("encoder.layers.9.bias", torch.zeros(3)), r"has encoder\.layers\.9\.bias, which"),
        (_with(f"{CONV}.bias", torch.zeros(3)), rf"{CONV}\.bias is \(3,\), by the config \(8,\)"),
        (_with(f"{CONV}.bias", torch.full((8,), torch.nan)), r"not finite.*encoder\.layers\.1"),
        (lambda weights: {"a.weight": torch.zeros(1)}, r"no autoencoder.*it has a\.weight"),
        (
            lambda weights: {k: v for k, v in weights.items() if not k.startswith("decoder.")},
            r"misses decoder\.layers\.0\.bias, .* and \d+ more",
        ),
    ],
)
def test_keys_and_sizes_that_do_not_fit_are_listed(
    change: Callable[[Weights], Weights], message: str, tmp_path: Path
) -> None:
    folder = write_tools(tmp_path / "a", change(tools_weights()))
    with pytest.raises(CheckpointError, match=message) as error:
        convert(folder, name="x")
    assert "model.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_keys_of_diffusers_have_their_names(tmp_path: Path) -> None:
    weights = _without("encoder.layers.1.layers.1.layers.2.alpha")(tools_weights())
    folder = write_diffusers(tmp_path / "a", weights)
    with pytest.raises(CheckpointError, match=r"misses encoder\.block\.0\.res_unit2\.snake2\."):
        convert(folder, name="x")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("_class_name", "AutoencoderKL", "'AutoencoderKL', expected 'AutoencoderOobleck'"),
        ("encoder_hidden_size", 16, "expected the first two to be equal"),
        ("decoder_input_channels", 3, "twice the third"),
        ("audio_channels", 6, "channels"),
        ("channel_multiples", [1], "width_multiples has 1 entries"),
        ("downsampling_ratios", [2, -4], r"downsampling_ratios\.1"),
        ("sampling_rate", "fast", "sampling_rate"),
        ("use_attention", True, "unknown key 'use_attention'; known keys here: audio_channels"),
        ("decoder_channels", 16, "decoder_channels 16"),
    ],
)
def test_other_configs_of_diffusers(path: str, value: Any, message: str, tmp_path: Path) -> None:
    config = changed(DIFFUSERS_CONFIG, path, value)
    folder = write_diffusers(tmp_path / "a", tools_weights(), config)
    with pytest.raises(LacunaError, match=message) as error:
        convert(folder, name="x")
    assert "config.json" in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model_type", "lm", "model_type 'lm' without an autoencoder"),
        ("model.encoder.type", "dac", "the encoder is of type 'dac', expected 'oobleck'"),
        ("model.decoder.type", "taae", "the decoder is of type 'taae', expected 'oobleck'"),
        ("model.bottleneck.type", "rvq", "the bottleneck is of type 'rvq', expected 'vae'"),
        ("model.bottleneck", None, "the bottleneck is of type 'none'"),
        ("model.pretransform", {"type": "pqmf"}, "a pretransform of type 'pqmf'"),
        ("model.encoder.config.use_snake", False, "use_snake is not true"),
        ("model.decoder.config.antialias_activation", True, "antialias_activation is not false"),
        ("model.decoder.config.use_nearest_upsample", True, "use_nearest_upsample"),
        ("model.encoder.config.strides", [4, 4], "strides"),
        ("model.encoder.config.latent_dim", 4, "mean and scale"),
        ("model.encoder.config.in_channels", 1, "in_channels and out_channels"),
        ("model.encoder.config.colour", 1, "unknown key 'colour'"),
        ("model.latent_dim", 64, "latent_dim is 64, and encoder and decoder say 4"),
        ("model.downsampling_ratio", 2048, "downsampling_ratio is 2048"),
        ("model.io_channels", 1, "io_channels is 1"),
        ("sample_rate", None, "sample_rate"),
        ("model", [], "without an autoencoder"),
    ],
)
def test_other_configs_of_stable_audio_tools(
    path: str, value: Any, message: str, tmp_path: Path
) -> None:
    config = changed(TOOLS_CONFIG, path, value)
    folder = write_tools(tmp_path / "a", tools_weights(), config)
    with pytest.raises(LacunaError, match=message):
        convert(folder, name="x")


def test_a_config_of_terabytes_takes_no_memory(tmp_path: Path) -> None:
    config = TOOLS_CONFIG
    for half in ("encoder", "decoder"):
        config = changed(config, f"model.{half}.config.channels", 1_000_000)
    folder = write_tools(tmp_path / "a", tools_weights(), config)
    with pytest.raises(CheckpointError, match="other sizes than its config says"):
        convert(folder, name="x")


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def test_a_pickle_with_objects_is_refused_and_not_executed(lacuna: Lacuna, tmp_path: Path) -> None:
    fired = tmp_path / "fired"
    folder = write_tools(tmp_path / "a", tools_weights())
    (folder / "model.safetensors").unlink()
    for dump in (
        lambda path: torch.save({"state_dict": tools_weights(), "x": _Bomb(fired)}, path),
        lambda path: torch.save({"x": _Bomb(fired)}, path, _use_new_zipfile_serialization=False),
        lambda path: path.write_bytes(pickle.dumps(_Bomb(fired))),
    ):
        dump(folder / "model.ckpt")
        result = lacuna("convert", folder, tmp_path / "out.safetensors")
        assert result.code == 1
        assert "can execute any code" in result.stderr or "not a checkpoint" in result.stderr
        assert "Traceback" not in result.stderr
        assert "weights_only=False" not in result.stderr  # torch's own advice
    assert not fired.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_the_reason_and_the_safe_way_are_told(tmp_path: Path) -> None:
    folder = write_tools(tmp_path / "a", {}, pickled=True)
    torch.save({"state_dict": {}, "x": _Bomb(tmp_path / "fired")}, folder / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"here \S*open.*execute.*--use-safetensors"):
        convert(folder, name="x")


def test_an_old_torch_reads_no_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tools(tmp_path / "a", tools_weights(), pickled=True)
    monkeypatch.setattr(weights_module.torch, "__version__", "2.5.1+cu124")
    with pytest.raises(CheckpointError, match=r"torch 2\.6 or newer"):
        convert(folder, name="x")


@pytest.mark.parametrize(
    "content", [b"", b"text", bytes(200), b"PK\x03\x04" + bytes(99), b"\x80\x02}."]
)
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_damaged_weights(content: bytes, suffix: str, tmp_path: Path) -> None:
    folder = write_tools(tmp_path / "a", tools_weights())
    (folder / "model.safetensors").unlink()
    (folder / f"model.{suffix}").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"model\.{suffix}"):
        convert(folder, name="x")


@pytest.mark.parametrize("content", ["", "[1]", "{", '"x"', "[" * 100_000, "{}"])
def test_damaged_configs(content: str, tmp_path: Path) -> None:
    folder = write_tools(tmp_path / "a", tools_weights())
    (folder / "model_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model_config\.json"):
        convert(folder, name="x")


def test_sources_that_are_not_there(lacuna: Lacuna, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "config.json").write_text(json.dumps(DIFFUSERS_CONFIG))
    save_file(tools_weights(), tmp_path / "weights.safetensors")
    for source, message in (
        (tmp_path / "empty", "has none of config.json, vae/config.json, model_config.json"),
        (tmp_path / "only", "neither diffusion_pytorch_model.safetensors"),
        (tmp_path / "no" / "such" / "folder", "not found"),
        (tmp_path / "weights.safetensors", "no JSON config"),
    ):
        result = lacuna("convert", source, tmp_path / "out.safetensors")
        assert result.code == 1
        assert message in result.stderr
    assert lacuna("convert", tmp_path / "only", tmp_path / "out.wav").code == 1


def test_names_from_a_file_reach_the_terminal_as_text(lacuna: Lacuna, tmp_path: Path) -> None:
    folder = write_tools(tmp_path / "a", {**tools_weights(), "encoder.\x1b[2Jevil": torch.ones(1)})
    result = lacuna("convert", folder, tmp_path / "out.safetensors")
    assert result.code == 1
    assert "evil" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_converted_model_must_be_calibrated_for_files(lacuna: Lacuna, tmp_path: Path) -> None:
    import soundfile

    out = tmp_path / "mine.safetensors"
    assert lacuna("convert", write_tools(tmp_path / "a", tools_weights()), out).code == 0
    wav = tmp_path / "in.wav"
    soundfile.write(wav, 0.1 * torch.randn(16000, 2).numpy(), 16000)
    result = lacuna("compress", wav, tmp_path / "out.lac", "-m", out)
    assert result.code == 1
    assert "has no entropy tables yet" in result.stderr
    assert "lacuna calibrate" in result.stderr
    assert not (tmp_path / "out.lac").exists()
    # latents need no tables
    assert lacuna("encode", wav, tmp_path / "z.safetensors", "-m", out).code == 0
    assert lacuna("decode", tmp_path / "z.safetensors", tmp_path / "y.wav", "-m", out).code == 0
