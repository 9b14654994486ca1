"""Adapters: trained beside a model, put into its weights, and refused where they do not belong."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest
import torch
from generation_helpers import LABELS, codec_file, diffusion_file, save_both
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_helpers import forget_accelerate

import diffusion
from codec.api import Codec
from codec.errors import CheckpointError, ConfigError, LacunaError
from diffusion.cli.program import main
from diffusion.model import adapter, checkpoint
from diffusion.model.adapter import Adapter, adapted
from diffusion.model.checkpoint import DiffusionCheckpoint
from diffusion.model.conditioning import Conditioning
from diffusion.training.adapter_task import adaptable, row_and_factors
from diffusion.training.run_adapter import train_adapter

Log = Callable[..., list[dict[str, Any]]]
Lacuna = Callable[..., tuple[int, str, str]]
QUICK = {"batch_size": 4, "validation_items": 4, "log_every": 1, "mixed_precision": "no"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A diffusion checkpoint and its codec's."""
    return save_both(tmp_path_factory.mktemp("models"))


@pytest.fixture
def base(models: tuple[Path, Path]) -> DiffusionCheckpoint:
    return checkpoint.load(models[0])


@pytest.fixture
def train(audio_folder: Path, models: tuple[Path, Path], no_preview: None) -> Callable[..., Any]:
    """``train(out, label="chime", **arguments of train_adapter)`` on the CPU."""

    def run(out: Path, label: str = "chime", **arguments: Any) -> Any:
        forget_accelerate()
        given = {"data": audio_folder, "init": str(models[0]), "codec": str(models[1])}
        return train_adapter(label, out=out, cpu=True, **{**given, **arguments})

    return run


@pytest.fixture(scope="module")
def trained(
    audio_folder: Path, models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run of some steps."""
    from diffusion.training.task import DiffusionTask

    out = tmp_path_factory.mktemp("runs") / "adapter"
    forget_accelerate()
    overrides = {"steps": 40, "optimizer": {"learning_rate": 1e-2, "warmup_steps": 4}, **QUICK}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffusionTask, "preview", lambda *arguments: None)
        train_adapter(
            "chime",
            audio_folder,
            out,
            init=str(models[0]),
            codec=str(models[1]),
            cpu=True,
            overrides=overrides,
        )
    return out


@pytest.fixture
def best(trained: Path) -> Path:
    return trained / "best.safetensors"


@pytest.fixture
def lacuna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lacuna:
    """``lacuna(*arguments)`` -> exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        forget_accelerate()
        monkeypatch.setattr(sys, "argv", ["lacuna", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotInstalled(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name.split(".")[0] == "peft":
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    for name in list(sys.modules):
        if name.split(".")[0] == "peft" or name.startswith("diffusion.training.adapter"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "peft" else find(name)
    )


def predictions(loaded: DiffusionCheckpoint, label: int) -> torch.Tensor:
    torch.manual_seed(3)
    shape = (2, loaded.config.coded_channels, loaded.config.latent_dim, 12)
    conditioning = replace(Conditioning.none(2, loaded.config, 12), label=torch.full((2,), label))
    with torch.inference_mode():
        return loaded.transformer(torch.randn(shape), torch.tensor([0.2, 0.8]), conditioning)


# -- what it is ----------------------------------------------------------------------------------


def test_it_learns_and_the_model_stays(
    trained: Path, base: DiffusionCheckpoint, read_log: Log
) -> None:
    first, *later = read_log(trained, "valid")
    assert first["step"] == 0
    assert min(line["score"] for line in later) < 0.9 * first["score"]

    state = load_file(trained / "state" / "step-00000040" / "tensors.safetensors")
    before = base.transformer.state_dict()
    kept = 0
    for key, value in state.items():
        name = key.removeprefix("model.").replace(".base_layer", "")
        if key.startswith("model.") and name in before:
            assert torch.equal(value, before[name]), name
            kept += 1
    assert kept == len(before)


def test_it_is_small_and_says_whose_it_is(best: Path, base: DiffusionCheckpoint) -> None:
    with safe_open(best, framework="pt") as file:
        metadata = file.metadata()
        keys = set(file.keys())
    assert metadata["format"] == "lacuna-adapter-1"
    assert metadata["base"] == base.fingerprint
    assert metadata["latent_id"] == base.latent_id
    assert metadata["config"] == base.config.model_dump_json()
    layers = {"attention.project_in", "attention.project_out"}
    layers |= {"feed_forward.expand", "feed_forward.contract"}
    names = {f"blocks.{n}.{layer}.{f}" for n in range(2) for layer in layers for f in "AB"}
    assert keys == {"label", *names}


def test_weights_with_it_compute_what_was_trained(
    base: DiffusionCheckpoint, models: tuple[Path, Path], tmp_path: Path
) -> None:
    """And before anything is learned, what the model did."""
    untouched = predictions(base, 0)
    new = len(LABELS) + 1
    training = replace(base, transformer=adaptable(base.transformer).eval())
    for label, expected in ((0, untouched), (new, untouched)):
        torch.testing.assert_close(predictions(training, label), expected)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in training.transformer.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    row, factors = row_and_factors(training.transformer)
    base = checkpoint.load(models[0])
    made = Adapter("chime", row, factors, base.fingerprint, base.config, base.latent_id)
    adapter.save(made, tmp_path / "a.safetensors")
    merged = adapted(base, tmp_path / "a.safetensors")
    assert merged.labels == (*LABELS, "chime")
    for label in (0, 2, new):
        expected = predictions(training, label)
        torch.testing.assert_close(predictions(merged, label), expected, rtol=1e-2, atol=1e-2)
        assert (predictions(base, min(label, 2)) - expected).abs().mean() > 0.05


def test_a_stopped_run_goes_on(train: Callable[..., Any], tmp_path: Path, read_log: Log) -> None:
    overrides = {"steps": 4, **QUICK}
    train(tmp_path / "unbroken", overrides=overrides)
    for minutes in (0.0, 0.0, None):
        train(tmp_path / "broken", minutes=minutes, overrides=overrides)
    assert read_log(tmp_path / "broken") == read_log(tmp_path / "unbroken")
    with pytest.raises(LacunaError, match="--label was chime, now gong"):
        train(tmp_path / "broken", label="gong", overrides=overrides)


# -- commands ------------------------------------------------------------------------------------


def test_from_a_folder_to_a_sound(
    lacuna: Lacuna,
    models: tuple[Path, Path],
    audio_folder: Path,
    tmp_path: Path,
    no_preview: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(audio_folder, tmp_path / "bells")
    given = ["--codec", models[1], "--device", "cpu"]
    command = ["train", "adapter", "--label", "big bells", "--data", "bells", "--init", models[0]]
    quick = ["--set", "training.batch_size=2", "--set", "training.validation_items=2"]
    code, _, printed = lacuna(*command, *given, *quick, "--minutes", 0.01)
    assert code == 0, printed
    best = Path("runs/adapter-bells/best.safetensors")
    assert "adapting 'diffusion_tiny' to 'big bells' on 5 clips" in printed
    assert f"{best} (best score); more minutes train it on" in printed

    sampled = ["--seconds", 0.3, "--steps", 2, "--model", models[0], *given]
    told = ["--adapter", best, "--label", "big bells"]
    assert lacuna("generate", "new.wav", *told, *sampled)[0] == 0
    code, _, printed = lacuna("generate", "other.wav", "--label", "big bells", *sampled)
    assert code == 1
    assert "does not know the label 'big bells'" in printed
    for edit in (["vary"], ["inpaint", "--from", 0.1, "--to", 0.2], ["extend"]):
        name, *options = edit
        length = ["--seconds", 0.2] if name == "extend" else []
        words = [name, "new.wav", f"{name}.wav", *options, *length, *told, "--steps", 2]
        code, _, printed = lacuna(*words, "--model", models[0], *given)
        assert code == 0, printed


def test_generating_needs_no_peft(
    without_peft: None, models: tuple[Path, Path], best: Path
) -> None:
    model = diffusion.load(*models, adapter=best)
    how = diffusion.Sampling(label="chime", steps=2)
    sound = diffusion.generate(model, 0.3, sampling=how)
    plain = diffusion.generate(diffusion.load(*models), 0.3, sampling=replace(how, label=None))
    assert not torch.equal(sound.latents, plain.latents)


def test_training_without_peft_names_the_remedy(
    without_peft: None, lacuna: Lacuna, audio_folder: Path, tmp_path: Path
) -> None:
    command = ["train", "adapter", "--label", "x", "--data", audio_folder]
    code, _, printed = lacuna(*command, "--out", tmp_path / "run")
    assert code == 1
    assert 'needs peft, which is not installed; pip install ".[adapt]"' in printed
    assert not (tmp_path / "run").exists()


def test_help_shows_an_example(lacuna: Lacuna) -> None:
    code, printed, _ = lacuna("train", "adapter", "--help")
    assert code == 0
    assert "Example: lacuna train adapter --label bells" in " ".join(printed.split())


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("piano", "knows the label 'piano' already.*another name, such as 'my piano'"),
        (" ", "expected a word or two"),
        ("a\x1b[2J", "expected a word or two"),
        ("long" * 20, "expected a word or two"),
    ],
)
def test_labels_that_cannot_be(
    train: Callable[..., Any], tmp_path: Path, label: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "run", label=label)
    assert not (tmp_path / "run").exists()


def test_settings_of_a_model(train: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a value of \[training\]"):
        train(tmp_path / "run", settings=["model.transformer.depth=3"])


def test_a_codec_of_other_latents(train: Callable[..., Any], tmp_path: Path) -> None:
    from codec.model import checkpoint as codec_checkpoint

    codec_checkpoint.save(codec_file(seed=1), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="was trained on latents of the codec 'tiny'"):
        train(tmp_path / "run", codec=str(tmp_path / "other.safetensors"))


def test_an_adapter_of_another_model(
    models: tuple[Path, Path], best: Path, base: DiffusionCheckpoint, tmp_path: Path
) -> None:
    with torch.no_grad():
        base.transformer.head.bias += 1
    checkpoint.save(base, tmp_path / "other.safetensors")
    whose = "belongs to the diffusion model 'diffusion_tiny' with the fingerprint .*--model"
    with pytest.raises(CheckpointError, match=whose):
        diffusion.load(tmp_path / "other.safetensors", models[1], adapter=best)
    renamed = replace(checkpoint.load(models[0]), labels=("bell", "piano", "snow"))
    with pytest.raises(CheckpointError, match=whose):
        adapted(renamed, best)


def test_an_adapter_of_other_latents(best: Path, base: DiffusionCheckpoint) -> None:
    other = diffusion_file(Codec(codec_file(seed=1)))
    message = f"was trained on latents with latent_id {base.latent_id}.*{other.latent_id}"
    with pytest.raises(CheckpointError, match=message):
        adapted(other, best)


LAYER = "blocks.0.attention.project_in"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop(f"{LAYER}.A"), "is damaged"),
        (lambda t, m: t.pop("label"), "is damaged"),
        (lambda t, m: t.update({"label": t["label"][:3]}), "its label is of shape"),
        (lambda t, m: t.update({f"{LAYER}.A": t[f"{LAYER}.A"][:, :3]}), "has factors of shapes"),
        (lambda t, m: t.update({f"{LAYER}.B": t[f"{LAYER}.B"][0]}), "has factors of shapes"),
        (lambda t, m: t[f"{LAYER}.B"].fill_(float("nan")), "not finite"),
        (lambda t, m: [t.pop(f"{LAYER}.{f}") for f in "AB"], "it has 7 layers, expected the 8"),
        (lambda t, m: t.update({"x.A": t["label"], "x.B": t["label"]}), "it has 9 layers"),
        (lambda t, m: m.update({"config": "{"}), "is damaged"),
        (lambda t, m: m.pop("base"), "is damaged"),
        (lambda t, m: m.update({"name": "piano"}), "its label is one of its model's"),
        (lambda t, m: m.update({"format": "lacuna-diffusion-2"}), "given with --model"),
    ],
)
def test_damaged_files(
    best: Path, base: DiffusionCheckpoint, tmp_path: Path, change: Any, message: str
) -> None:
    tensors = load_file(best)
    with safe_open(best, framework="pt") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, tmp_path / "broken.safetensors", metadata)
    with pytest.raises(CheckpointError, match=message):
        adapted(base, tmp_path / "broken.safetensors")


def test_files_that_are_no_adapters(
    base: DiffusionCheckpoint, best: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "cut").write_bytes(best.read_bytes()[:-100])
    torch.save({}, tmp_path / "pickle")
    for path, message in (
        (models[0], "is not an adapter: its format is 'lacuna-diffusion-2'"),
        (tmp_path / "nowhere", "no checkpoint at"),
        (tmp_path / "cut", "is damaged"),
        (tmp_path / "pickle", "but a pickle"),
    ):
        with pytest.raises(CheckpointError, match=message):
            adapted(base, path)
