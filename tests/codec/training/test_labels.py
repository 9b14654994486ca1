"""Labels in the VAE: recognised, conditioned on, and learned from few of them.

`pytest tests/codec/training/test_labels.py -s` prints the accuracies that docs/EMBEDDING.md has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_sounds import CLASSES, sound, write_folder
from training_helpers import forget_accelerate

import codec
from codec.batch.folders import find_audio
from codec.errors import ConfigError, LacunaError
from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.network.labels import LabelledRows, one_hot
from codec.network.map_likelihood import MapLikelihood, powers
from codec.network.map_waveform import MapWaveformDecoder
from codec.network.spectral_map import MapEncoder
from codec.training.codec_task import CodecTask
from codec.training.config import load_training_config
from codec.training.data import AudioFile, open_source
from codec.training.labelled_task import LabelledBatch, LabelledTask
from codec.training.labels import NO_LABEL, label_of
from codec.training.run import train_codec

SETTINGS = ['model.network.labels = ["tones", "noise", "clicks"]']
STEPS = 80
PER_CLASS = 40


def train(folder: Path, valid: Path, out: Path, **arguments: Any) -> Path:
    forget_accelerate()
    given = {"steps": STEPS, "batch_size": 6, "validate_every": 40, "checkpoint_every": STEPS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CodecTask, "preview", lambda *arguments: None)
        train_codec(
            "tiny_map",
            folder,
            out,
            valid=valid,
            cpu=True,
            settings=SETTINGS,
            overrides={**given, **arguments.pop("overrides", {})},
            **arguments,
        )
    return out


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("valid"), 4, 0, seed=1)


@pytest.fixture(scope="module")
def runs(valid: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All 12 files of a class labelled; 4 of them; these alone; 6, whose folders say nothing."""
    folders = {
        "supervised": write_folder(tmp_path_factory.mktemp("all"), 12, 0, seed=0),
        "semi-supervised": write_folder(tmp_path_factory.mktemp("some"), 4, 8, seed=0),
        "few": write_folder(tmp_path_factory.mktemp("few"), 4, 0, seed=0),
        "control": write_folder(tmp_path_factory.mktemp("none"), 6, 6, seed=0, rotated=True),
    }
    return {
        name: train(folder, valid, tmp_path_factory.mktemp("run"))
        for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def models(runs: dict[str, Path]) -> dict[str, codec.Codec]:
    return {name: codec.load(run / "model.safetensors") for name, run in runs.items()}


def clips(count: int = PER_CLASS) -> tuple[torch.Tensor, torch.Tensor]:
    """Waveforms (items, 1, time) that nothing was trained on, and the numbers of their classes."""
    rng = np.random.default_rng(2)
    made = [sound(kind, rng) for kind in CLASSES for _ in range(count)]
    waveform = torch.from_numpy(np.stack(made)).float()[:, None]
    return waveform, torch.arange(3).repeat_interleave(count)


@pytest.fixture(scope="module")
def accuracy(models: dict[str, codec.Codec]) -> dict[str, float]:
    waveform, target = clips()
    found = {
        name: float((model.classify(waveform).argmax(dim=1) == target).float().mean())
        for name, model in models.items()
    }
    print("accuracy of q(y|x):", {name: round(share, 3) for name, share in found.items()})
    return found


def test_classes_are_recognised(accuracy: dict[str, float]) -> None:
    """Chance is 1/3; the control has seen the same sounds, in folders whose names say nothing."""
    assert accuracy["supervised"] > 0.75
    assert accuracy["semi-supervised"] > 0.75
    assert accuracy["control"] < 0.55
    assert min(accuracy["supervised"], accuracy["semi-supervised"]) > accuracy["control"] + 0.2


def test_training_says_what_it_recognises(
    runs: dict[str, Path], read_log: Callable[..., list[dict[str, Any]]]
) -> None:
    for run in runs.values():
        losses = [line["loss"] for line in read_log(run)]
        assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
        assert all(0 <= line["label_entropy"] <= np.log(3) + 1e-5 for line in read_log(run))
    assert read_log(runs["supervised"], "valid")[-1]["label_accuracy"] > 0.7


@pytest.mark.parametrize("name", ["supervised", "semi-supervised"])
def test_sounds_are_likeliest_as_what_they_are(name: str, models: dict[str, codec.Codec]) -> None:
    """p(x|z, y), at the mean of q(z|x, y): under the true label and under the others."""
    model = models[name].autoencoder
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, MapEncoder)
    assert isinstance(decoder, MapWaveformDecoder)
    waveform, target = clips(10)
    views = encoder.views(torch.nn.functional.pad(waveform, (0, -waveform.shape[-1] % 2048)))
    likelihood = MapLikelihood(44100, torch.device("cpu"))

    def cost(numbers: torch.Tensor) -> float:
        label = one_hot(numbers, 3)
        mean = encoder.from_views(views, label)[:, :4]
        return float(powers(likelihood.terms(views, decoder.expect(mean, label))))

    right = cost(target)
    assert right < cost((target + 1) % 3) - 0.01
    assert right < cost((target + 2) % 3) - 0.01


def test_a_label_is_given_by_its_name(models: dict[str, codec.Codec]) -> None:
    model = models["supervised"]
    waveform, _ = clips(1)
    assert model.labels == CLASSES
    plain, tones = model.encode(waveform), model.encode(waveform, label="tones")
    assert not torch.allclose(plain, tones)
    decoded = [model.decode(tones, 22050, label=label) for label in (None, *CLASSES)]
    assert not torch.equal(decoded[0], decoded[1])
    assert not torch.equal(decoded[1], decoded[2])
    assert model.classify(waveform).sum(dim=1).numpy() == pytest.approx(1)
    assert model.classify(waveform.expand(-1, 2, -1)).numpy() == pytest.approx(
        model.classify(waveform).numpy(), abs=1e-5
    )
    for use in (
        lambda: model.encode(waveform, label="bells"),
        lambda: model.decode(tones, label=""),
    ):
        with pytest.raises(LacunaError, match=r"expected one of tones, noise, clicks, or None"):
            use()


def test_files_need_no_label(models: dict[str, codec.Codec]) -> None:
    waveform = clips(1)[0][0].numpy()
    blob = models["semi-supervised"].compress(waveform, 44100, kbps=2.0)
    assert models["semi-supervised"].decompress(blob)[0].shape == waveform.shape


def test_a_model_without_labels_says_so(tiny_codec: codec.Codec) -> None:
    waveform = torch.zeros(1, 1, 1000)
    assert tiny_codec.labels == ()
    for use in (
        lambda: tiny_codec.classify(waveform),
        lambda: tiny_codec.encode(waveform, label="tones"),
    ):
        with pytest.raises(LacunaError, match="'tiny' was trained without labels"):
            use()


@pytest.fixture
def task(valid: Path) -> LabelledTask:
    model = load_model_config("tiny_map", SETTINGS)
    config = load_training_config("tiny_map", ["training.loss.labels=0.0"])
    device = torch.device("cpu")
    source = open_source(find_audio(valid), model, config.data, seed=0, device=device)
    torch.manual_seed(0)
    return LabelledTask(Autoencoder(model), config, source, source, device)


def test_what_is_not_labelled_is_summed_by_what_it_is_taken_for(task: LabelledTask) -> None:
    """Where q(y|x) is sure of a class, the loss is the one with that label; the entropy is 0."""
    plain = CodecTask.load(task, range(3))
    encoder = task.model.encoder
    assert isinstance(encoder, MapEncoder)
    assert encoder.classifier is not None

    def batch(labels: list[list[int]]) -> LabelledBatch:
        item = torch.tensor([i for i, some in enumerate(labels) for _ in some])
        unlabelled = torch.tensor([len(some) > 1 for some in labels])
        label = one_hot(torch.tensor([label for some in labels for label in some]), 3)
        target = torch.full((3,), -1)
        noise = plain.gaussian[item], torch.zeros_like(plain.uniform[item])
        return LabelledBatch(plain.waveform, *noise, LabelledRows(item, label), target, unlabelled)

    def loss(labels: list[list[int]]) -> float:
        return task.loss(task.model, batch(labels), 0).loss.item()

    every = [[0, 1, 2]] * 3
    alone = [loss([[number]] * 3) for number in range(3)]
    assert len({round(value, 3) for value in alone}) == 3
    with torch.no_grad():
        encoder.classifier.head.weight.zero_()
        encoder.classifier.head.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    weight = float(task.kl_weight.at(0)) / (4 * plain.gaussian.shape[2])
    assert loss(every) == pytest.approx(alone[1] + weight * np.log(3), rel=1e-4)
    with torch.no_grad():
        encoder.classifier.head.bias.zero_()
    assert loss(every) == pytest.approx(np.mean(alone), rel=1e-4)  # the entropy is log 3


def test_a_batch_has_a_row_for_every_label_of_what_has_none(task: LabelledTask) -> None:
    task._of_files = [-1 if i % 2 else number for i, number in enumerate(task._of_files)]
    batch = task.load(range(40))
    counts = torch.bincount(batch.rows.item, minlength=40)
    assert set(counts.tolist()) == {1, 3}
    assert (batch.target[counts == 3] == -1).all()
    assert torch.equal(batch.unlabelled, counts == 3)
    given = batch.rows.label.sum(dim=1)
    assert set(given.tolist()) == {0.0, 1.0}  # some without a label
    labelled = (counts[batch.rows.item] == 1) & (given == 1)
    found = batch.rows.label.argmax(dim=1)[labelled]
    assert torch.equal(found, batch.target[batch.rows.item[labelled]])
    assert batch.gaussian.shape[0] == batch.uniform.shape[0] == len(given)


def test_labels_from_folders_and_manifests(tmp_path: Path) -> None:
    def label(path: str, **columns: str) -> int:
        return label_of(AudioFile(tmp_path / path, 1, 1, columns), CLASSES)

    assert label("noise/a.wav") == 1
    assert label("clicks/deep/a.wav") == 2
    assert label("clicks/tones/a.wav") == 0  # the nearest
    assert label("noise.wav") == label("others/a.wav") == NO_LABEL
    assert label("noise/a.wav", **{"class": "tones"}) == 0
    assert label("noise/a.wav", **{"class": ""}) == NO_LABEL
    with pytest.raises(LacunaError, match=r"class 'bells' of .*a\.wav.*tones, noise, clicks"):
        label("noise/a.wav", **{"class": "bells"})


def test_a_manifest_labels_both_folders(valid: Path, tmp_path: Path) -> None:
    """What it does not list is not trained on, but validated on."""
    files = find_audio(valid)
    rows = [f"{path},{path.parent.name}" for path in files[1:]]
    manifest = tmp_path / "labels.csv"
    manifest.write_text("\n".join(["path,class", *rows]))
    out = train(valid, valid, tmp_path / "run", manifest=manifest, overrides={"steps": 1})
    assert codec.load(out / "model.safetensors").labels == CLASSES


def test_labels_that_cannot_be(valid: Path, tmp_path: Path, audio_folder: Path) -> None:
    with pytest.raises(LacunaError, match="no file has the label tones, noise, clicks: expected"):
        train(audio_folder, valid, tmp_path / "run")
    for labels in ('["a"]', '["a", "a"]'):
        with pytest.raises(ConfigError, match="expected two or more, all different"):
            load_model_config("tiny_map", [f"model.network.labels = {labels}"])
    with pytest.raises(ConfigError, match="tokens with labels"):
        load_model_config("tiny_map", [*SETTINGS, 'model.tokens = {kind = "vq"}'])
