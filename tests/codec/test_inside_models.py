"""A codec as a part of other programs: gradients, types, devices, graphs, processes, threads."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from codec_helpers import music
from tiny_checkpoint import tiny_checkpoint
from torch import Tensor, nn

from codec.api import Codec, load
from codec.errors import LacunaError
from codec.network.autoencoder import Autoencoder
from codec.network.config import OobleckConfig, SpectralMapConfig


def waveform(batch: int, channels: int, time: int) -> Tensor:
    return 0.1 * torch.randn(batch, channels, time, generator=torch.Generator().manual_seed(time))


class Host(nn.Module):
    """What someone builds around a codec."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.codec.encode(x).mean(dim=(1, 3)).to(self.head.weight.dtype))


# -- gradients -------------------------------------------------------------------------------------


def test_a_latent_is_optimised_through_the_frozen_decoder(tiny_codec: Codec):
    before = {name: value.clone() for name, value in tiny_codec.state_dict().items()}
    target = tiny_codec.decode(torch.randn(1, 2, 4, 8, generator=torch.Generator().manual_seed(1)))
    z = torch.zeros(1, 2, 4, 8, requires_grad=True)
    optimizer = torch.optim.Adam([z], lr=0.1)
    losses = []
    for _ in range(40):
        loss = F.mse_loss(tiny_codec.decode(z), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in tiny_codec.state_dict().items())


def test_the_encoder_is_fine_tuned_inside_a_larger_model(tiny_path: Path):
    host = Host(load(tiny_path))
    host.codec.autoencoder.encoder.requires_grad_(True)
    decoder = copy.deepcopy(host.codec.autoencoder.decoder.state_dict())
    x, labels = waveform(6, 1, 640), torch.arange(6) % 3
    optimizer = torch.optim.Adam([p for p in host.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(host(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert not torch.equal(host.codec.encode(x), load(tiny_path).encode(x))
    after = host.codec.autoencoder.decoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in decoder.items())


@pytest.mark.parametrize("channels", [1, 2])
def test_gradients_reach_waveform_and_latents(tiny_codec: Codec, channels: int):
    x = waveform(2, channels, 700).requires_grad_()
    z = tiny_codec.encode(x)
    z.retain_grad()
    tiny_codec.decode(z, length=700).pow(2).sum().backward()
    assert z.grad is not None
    assert (z.grad.abs().amax(dim=2) > 0).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).float().mean() > 0.99


# -- types -----------------------------------------------------------------------------------------


def test_autocast_stays_close(tiny_codec: Codec):
    x = torch.from_numpy(music(0.5, 16000, 2))[None]
    z = tiny_codec.encode(x)
    with torch.autocast("cpu", torch.bfloat16):
        z16 = tiny_codec.encode(x)
        y16 = tiny_codec.decode(z)
    assert z16.dtype == y16.dtype == torch.float32
    assert (z16 - z).pow(2).mean().sqrt() < 0.1
    y = tiny_codec.decode(z)
    assert (y16 - y).pow(2).mean() < 0.01 * y.pow(2).mean()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_default_type_of_torch(tiny_path, dtype: torch.dtype):
    """A program that sets one for its own networks gets the same codec."""
    x = music(0.5, 16000, 2)
    expected = load(tiny_path)
    blob = expected.compress(x, 16000)
    y = torch.from_numpy(x)[None]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        codec = load(tiny_path)
        assert {value.dtype for value in codec.state_dict().values()} == {torch.float32}
        assert codec.compress(x, 16000) == blob
        assert torch.equal(codec.decompress(blob)[0], expected.decompress(blob)[0])
        z = codec.encode(y)
        assert z.dtype == torch.float32
        assert torch.equal(codec.decode(z), expected.decode(z))
        assert torch.get_default_dtype() == dtype
        silence = codec.compress(np.zeros((2, 100), np.float32), 16000)
        assert codec.decompress(silence)[0].dtype == torch.float32
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(z, expected.encode(y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_it_stays_in_float32_when_a_larger_model_is_cast(tiny_path: Path, dtype: torch.dtype):
    host, x = Host(load(tiny_path)), waveform(2, 1, 512)
    before = {name: value.clone() for name, value in host.codec.state_dict().items()}
    expected = host.codec.encode(x)
    for cast in (
        lambda: host.to(dtype),
        lambda: host.to("cpu", dtype),
        {torch.bfloat16: host.bfloat16, torch.float16: host.half, torch.float64: host.double}[
            dtype
        ],
        lambda: host.codec.to(dtype),
        lambda: host.type(dtype),
    ):
        cast()
        assert host.head.weight.dtype == dtype
        for name, value in host.codec.state_dict().items():
            assert torch.equal(value, before[name])
            assert value.dtype == torch.float32
    assert torch.equal(host.codec.encode(x), expected)
    assert host(x).dtype == dtype


def test_weights_changed_past_the_module_are_refused_with_the_remedy(tiny_path: Path):
    codec = load(tiny_path)
    weight = codec.autoencoder.decoder.head.weight
    weight.data = weight.data.to(torch.bfloat16)
    for call, shape in ((codec.encode, (1, 1, 256)), (codec.decode, (1, 1, 4, 2))):
        with pytest.raises(LacunaError, match=r"decoder\.head\.weight.*float32.*torch\.autocast"):
            call(torch.zeros(shape))


def test_a_tensor_elsewhere_is_refused_with_the_remedy(tiny_codec: Codec):
    for call, shape in ((tiny_codec.encode, (1, 1, 256)), (tiny_codec.decode, (1, 1, 4, 2))):
        with pytest.raises(LacunaError, match=r"on meta, and the codec is on cpu.*model\.device"):
            call(torch.zeros(shape, device="meta"))


# -- devices ---------------------------------------------------------------------------------------


def test_on_the_meta_device_it_gives_shapes(tiny_path: Path, tiny_codec: Codec):
    codec = load(tiny_path, device="meta")
    x = torch.empty(3, 2, 1000, device="meta")
    z = codec.encode(x)
    assert z.device.type == "meta"
    assert z.shape == (3, 2, 4, 8)
    assert codec.decode(z, length=1000).shape == x.shape
    with pytest.raises(LacunaError, match="on the meta device and has no weights"):
        codec.compress(np.zeros((1, 100), np.float32), 16000)
    real = codec.to_empty(device="cpu")
    real.load_state_dict(tiny_codec.state_dict())
    x = waveform(1, 2, 600)
    assert torch.equal(real(x), tiny_codec(x))
    assert real.latent_id == tiny_codec.latent_id


def test_any_default_device_of_torch(tiny_path: Path, tiny_codec: Codec):
    """A program that sets one gets a codec where it asked for one."""
    x, sound = waveform(1, 2, 600), music(3.0, 16000, 2)
    blob = tiny_codec.compress(sound, 16000)
    with torch.device("meta"):
        codec = load(tiny_path)
        assert codec.device.type == "cpu"
        assert codec.compress(sound, 16000) == blob
        y, _ = codec.decompress(blob)
        z = codec.encode(x, length=[500])
        decoded = codec.decode(z, length=[500])
    assert torch.equal(y, tiny_codec.decompress(blob)[0])
    assert torch.equal(decoded, tiny_codec.decode(tiny_codec.encode(x, length=500), length=[500]))


# -- graphs ----------------------------------------------------------------------------------------


class Encode(nn.Module):
    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, x: Tensor) -> Tensor:
        return self.codec.encode(x)


class Decode(Encode):
    def forward(self, x: Tensor) -> Tensor:
        return self.codec.decode(x)


OOBLECK = OobleckConfig(width=4, strides=(2, 4), width_multiples=(1, 2))
MAP = SpectralMapConfig(width=16, depth=1, renderer_width=16, renderer_depth=1)


def codec_of(network: OobleckConfig | SpectralMapConfig | None) -> Codec:
    loaded = tiny_checkpoint()
    if network is not None:
        config = loaded.config.model_copy(update={"network": network, "sample_rate": 44100})
        loaded = replace(loaded, config=config, autoencoder=Autoencoder(config).eval())
    return Codec(loaded).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("part", "network"),
    [(Encode, None), (Decode, None), (Encode, OOBLECK), (Decode, OOBLECK), (Encode, MAP)],
)
def test_it_is_one_graph_for_torch_compile(part: type[Encode], network: OobleckConfig | None):
    torch._dynamo.reset()
    codec = codec_of(network)
    module, hop = part(codec), codec.hop_length
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for batch, frames in ((2, 6), (3, 9)):
        x = waveform(batch, 1, frames * hop)
        x = x if part is Encode else codec.encode(x)
        torch.testing.assert_close(compiled(x), module(x))


@pytest.mark.parametrize(
    ("part", "network", "strict"),
    [
        (Encode, None, False),
        (Decode, None, False),
        (Encode, OOBLECK, False),
        (Decode, OOBLECK, False),
        (Encode, OOBLECK, True),
    ],
)
def test_torch_export_with_any_batch_and_length(
    part: type[Encode], network: OobleckConfig | None, strict: bool
):
    codec = codec_of(network)
    module, hop = part(codec), codec.hop_length
    frames, batch = torch.export.Dim("frames", min=2, max=4096), torch.export.Dim("batch", max=64)
    shape = {0: batch, 2: frames * hop} if part is Encode else {0: batch, 3: frames}
    x = waveform(2, 1, 6 * hop)
    x = x if part is Encode else codec.encode(x)
    program = torch.export.export(module, (x,), dynamic_shapes=(shape,), strict=strict)
    other = waveform(3, 1, 9 * hop)
    other = other if part is Encode else codec.encode(other)
    torch.testing.assert_close(program.module()(other), module(other))


# -- processes and threads -------------------------------------------------------------------------


def test_a_codec_goes_through_pickle_and_torch_save(tiny_codec: Codec, tmp_path):
    """As spawned workers and data loaders on macOS and Windows need it."""
    x = music(0.3, 16000, 2)
    blob = tiny_codec.compress(x, 16000)  # so that caches are full
    torch.save(tiny_codec, tmp_path / "codec.pt")
    for other in (
        pickle.loads(pickle.dumps(tiny_codec)),
        copy.deepcopy(tiny_codec),
        torch.load(tmp_path / "codec.pt", weights_only=False),
    ):
        assert other.compress(x, 16000) == blob
        assert torch.equal(other.decompress(blob)[0], tiny_codec.decompress(blob)[0])


class Sounds(torch.utils.data.Dataset):
    """A data set that encodes in the data loader's workers."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        with torch.inference_mode():
            return self.codec.encode(waveform(1, 1, 256 * (index + 1)))[0, 0, :, :2]


def test_spawned_workers(tiny_codec: Codec):
    sounds = Sounds(tiny_codec)
    loader = torch.utils.data.DataLoader(
        sounds, batch_size=2, num_workers=1, multiprocessing_context="spawn"
    )
    torch.testing.assert_close(torch.cat(list(loader)), torch.stack([sounds[i] for i in range(4)]))


@pytest.mark.parametrize("default", [torch.float32, torch.bfloat16])
def test_threads_share_one_model(tiny_codec: Codec, default: torch.dtype):
    sounds = [music(0.3 + 0.1 * n, 16000, 1 + n % 2, seed=n) for n in range(8)]

    def through(sound: np.ndarray) -> tuple[bytes, Tensor, Tensor]:
        blob = tiny_codec.compress(sound, 16000)
        z = tiny_codec.encode(sound[None])
        return blob, tiny_codec.decompress(blob)[0], tiny_codec.decode(z)

    expected = [through(sound) for sound in sounds]
    torch.set_default_dtype(default)
    try:
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(through, sounds * 3))
        assert torch.get_default_dtype() == default
    finally:
        torch.set_default_dtype(torch.float32)
    for (blob, y, decoded), (same_blob, same_y, same_decoded) in zip(
        results, expected * 3, strict=True
    ):
        assert blob == same_blob
        assert torch.equal(y, same_y)
        assert torch.equal(decoded, same_decoded)


def test_as_a_part_of_another_model(tiny_codec: Codec, tiny_path):
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codec = load(tiny_path)
            self.head = nn.Linear(4, 1)

    host, other = Host(), Host()
    # Frozen until asked otherwise, so a host trains its own parts alone.
    assert {name for name, p in host.named_parameters() if p.requires_grad} == {
        "head.weight",
        "head.bias",
    }
    with torch.no_grad():
        for parameter in host.codec.parameters():
            parameter.mul_(1.01)
        host.codec.standardizer.mean.add_(0.5)
    x = waveform(1, 1, 512)
    assert not torch.allclose(host.codec(x), other.codec(x))
    other.load_state_dict(host.state_dict())
    assert torch.equal(host.codec(x), other.codec(x))
    assert torch.equal(copy.deepcopy(host).codec(x), host.codec(x))
    host.codec.requires_grad_(True).train()
    host.codec(x).sum().backward()
    assert all(p.grad is not None for p in host.codec.autoencoder.parameters() if p.ndim > 1)
