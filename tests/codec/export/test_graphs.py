"""Every kind of network as ONNX and as a torch.export package: the same numbers, on silence too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import untrained

from codec.errors import LacunaError
from codec.export import write
from codec.export.graphs import Graph, Input, graphs_of
from codec.export.parity import TOLERANCE, compare
from codec.export.program import LEAST_FRAMES, save_onnx, to_program
from codec.export.write import export
from codec.model.latent_codec import LatentCodec
from codec.network.map_waveform import Place, Randomness
from codec.network.renderer import ANCHOR_FRAMES

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
pytest.importorskip("onnxscript", reason="needs the extra 'export'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'export'")


@pytest.mark.parametrize(("kind", "channels"), [("spectral", 2), ("pqmf", 1)])
def test_what_is_exported_is_what_the_codec_gives(kind: str, channels: int, tmp_path: Path) -> None:
    """At other batches and lengths than were traced, and on silence; ONNX and packages."""
    codec = untrained(kind, channels)
    exported = export(codec, tmp_path)
    assert {parity.graph for parity in exported.parities} == {"encoder", "decoder"}
    assert all(parity.difference <= TOLERANCE for parity in exported.parities)
    encoder, decoder = (
        onnxruntime.InferenceSession(tmp_path / f"{name}.onnx") for name in ("encoder", "decoder")
    )
    facts: dict[str, str] = {"model.json": ""}
    encode = torch.export.load(tmp_path / "encoder.pt2", extra_files=facts).module()
    decode = torch.export.load(tmp_path / "decoder.pt2").module()
    noise = 0.1 * torch.randn(2, channels, 5 * codec.hop_length)
    for x in (noise, torch.zeros_like(noise), 1e-5 * noise, noise[..., : codec.hop_length]):
        mean, logvar = encoder.run(None, {"waveform": x.numpy()})
        expected = codec.analyze(x)
        assert np.abs(mean - expected.mean.numpy()).max() <= TOLERANCE
        assert np.abs(logvar - expected.logvar.numpy()).max() <= TOLERANCE
        [waveform] = decoder.run(None, {"z": mean})
        expected_waveform = codec.decode(expected.mean[:, None])
        assert np.abs(waveform - expected_waveform.numpy()).max() <= TOLERANCE
        if x.shape[2] >= LEAST_FRAMES * codec.hop_length:
            assert torch.allclose(encode(x)[0], expected.mean, atol=1e-5)
            assert torch.allclose(decode(expected.mean), expected_waveform, atol=1e-5)
    assert json.loads(facts["model.json"])["latent_id"] == codec.latent_id
    stated = {p.key: p.value for p in onnx.load(tmp_path / "decoder.onnx").metadata_props}
    assert stated["hop_length"] == str(codec.hop_length)
    assert stated["stereo"] == ("joint" if channels == 2 else "mid_side")


def steady_latents(items: int, frames: int) -> torch.Tensor:
    """Whose partials go on for long, as those of chords do."""
    generator = torch.Generator().manual_seed(1)
    steady = torch.randn(items, 8, 1, generator=generator)
    return steady + 0.03 * torch.randn(items, 8, frames, generator=generator)


def test_the_decoder_of_a_spectral_map_is_exported(
    map_codec: LatentCodec, map_graphs: Path
) -> None:
    """With what the codec itself would draw, the waveform is that of the codec: across anchors,
    one frame long, in a batch, and of silence."""
    decoder = onnxruntime.InferenceSession(map_graphs / "decoder.onnx")
    package = torch.export.load(map_graphs / "decoder.pt2").module()
    silence = map_codec.analyze(torch.zeros(1, 1, 40 * map_codec.hop_length)).mean
    for z in (steady_latents(2, ANCHOR_FRAMES + 40), steady_latents(1, 1), silence):
        place = Place(channels=range(len(z)))
        drawn = Randomness.of_place(place, len(z), z.shape[2])
        inputs = {"z": z, "births": drawn.births, "noise": drawn.noise[:, 0]}
        expected = map_codec.synthesize(z, place)
        [waveform] = decoder.run(None, {name: x.numpy() for name, x in inputs.items()})
        assert np.abs(waveform - expected.numpy()).max() <= TOLERANCE
        if z.shape[2] >= LEAST_FRAMES:
            assert (package(*inputs.values()) - expected).abs().max() <= TOLERANCE


def test_what_is_drawn_for_a_spectral_map_is_heard(
    map_codec: LatentCodec, map_graphs: Path
) -> None:
    decoder = onnxruntime.InferenceSession(map_graphs / "decoder.onnx")
    z, births = steady_latents(1, 20).numpy(), np.full((1, 20, 160), 0.25, np.float32)
    noise = np.zeros((1, 20 * map_codec.hop_length), np.float32)

    def decoded(births: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return decoder.run(None, {"z": z, "births": births, "noise": noise})[0]

    tones = decoded(births, noise)
    assert np.abs(tones).max() > 0.01
    assert np.abs(decoded(births + 0.5, noise) - tones).max() > 0.01
    assert np.abs(decoded(births, noise + 1) - tones).max() > 0.01


def test_the_map_of_a_spectral_map(map_codec: LatentCodec, map_graphs: Path) -> None:
    z = torch.randn(2, 8, 3)
    graph = onnxruntime.InferenceSession(map_graphs / "map.onnx")
    long = graph.run(["long"], {"z": z.numpy()})[0]
    expected = map_codec.autoencoder.decoder.expect(map_codec.standardizer.inverse(z)).long
    assert np.abs(long - expected.numpy()).max() <= TOLERANCE


def test_the_facts_say_what_goes_in(map_graphs: Path) -> None:
    graphs = json.loads((map_graphs / "model.json").read_text())["graphs"]
    assert graphs["decoder"] == {
        "inputs": {
            "z": ["batch", 8, "frames"],
            "births": ["batch", "frames", 160],
            "noise": ["batch", "time"],
        },
        "outputs": ["waveform"],
    }
    assert graphs["encoder"]["inputs"] == {"waveform": ["batch", 1, "time"]}


class LogOf(torch.nn.Module):
    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z + self.floor).log()


def log_graph(floor: float) -> Graph:
    z = Input("z", ("batch", 2, "frames"), torch.rand)
    return Graph("log", LogOf(floor), (z,), ("nats",), torch.zeros(1, 2, 1), 1)


@pytest.mark.parametrize("floor", [1e-5, 1e-8, 1e-10, 1e-12])
def test_floors_under_logarithms_are_kept(floor: float, tmp_path: Path) -> None:
    """onnxscript takes x + 1e-8 for x, whose logarithm is minus infinity on silence."""
    graph = log_graph(floor)
    save_onnx(graph, to_program(graph), tmp_path / "log.onnx", {})
    session = onnxruntime.InferenceSession(tmp_path / "log.onnx")
    z = torch.tensor([0.0, floor, 1e-6, 1.0]).expand(1, 2, 4)
    [nats] = session.run(None, {"z": z.numpy()})
    assert np.allclose(nats, graph.module(z).numpy(), atol=1e-4)


def test_a_graph_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = log_graph(1.0)
    save_onnx(graph, to_program(graph), tmp_path / "log.onnx", {})
    graph.module.floor = 1.1
    with pytest.raises(LacunaError, match=r"'log' gives another 'nats': it differs by 0\.0"):
        compare(graph, tmp_path / "log.onnx", 10.0)

    def broken(*arguments: object) -> None:
        raise LacunaError("differs")

    monkeypatch.setattr(write, "graphs_of", lambda codec: [graph])
    monkeypatch.setattr(write, "compare", broken)
    with pytest.raises(LacunaError, match="differs"):
        export(untrained("spectral"), tmp_path / "graphs")
    assert not (tmp_path / "graphs").exists()


def test_packages_carry_no_other_half() -> None:
    encoder, _ = graphs_of(untrained("spectral"))
    names = [name for name, _ in to_program(encoder).named_parameters()]
    assert names
    assert all(name.startswith("autoencoder.encoder.") for name in names)
