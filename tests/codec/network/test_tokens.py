"""The bottleneck of tokens: what it learns, what it leaves alone."""

import sys

import pytest
import torch

from codec.errors import ConfigError, MissingPackageError
from codec.network import tokens
from codec.network.config import FSQConfig, ModelConfig, VQConfig
from codec.network.tokens import LEFT_OUT, TokenBottleneck, use_of
from codec.settings import validate


def trained(config: VQConfig, steps: int = 30, spread: float = 1.0) -> TokenBottleneck:
    torch.manual_seed(0)
    bottleneck = TokenBottleneck(config, 4).train()
    for _ in range(steps):
        bottleneck(spread * torch.randn(8, 4, 32))
    return bottleneck.eval()


def test_codebooks_learn_what_latents_are() -> None:
    bottleneck = trained(VQConfig(books=4, size=16))
    latents = torch.randn(8, 4, 64)
    quantised = bottleneck.quantise(latents)
    assert quantised.tokens.shape == (8, 4, 64)
    error = (quantised.latents - latents).square().mean()
    assert error < 0.2  # of a variance of 1, with 16 bits for four numbers
    assert torch.equal(bottleneck.lookup(quantised.tokens), quantised.latents)


def test_in_training_last_books_are_left_out() -> None:
    bottleneck = TokenBottleneck(VQConfig(books=4, size=16), 4).train()
    kept = set()
    for _ in range(30):
        quantised = bottleneck(torch.randn(2, 4, 32))
        books = (quantised.tokens != LEFT_OUT).flatten(2).all(2).all(0)
        assert books[: int(books.sum())].all()  # the first ones
        kept.add(int(books.sum()))
        assert torch.isfinite(quantised.commitment)
    assert kept == {1, 2, 3, 4}


@pytest.mark.parametrize(("threshold", "revived"), [(tokens.DEAD, True), (0.0, False)])
def test_dead_codes_are_revived(
    threshold: float, revived: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes that lie where no latents are come to where there are some."""
    monkeypatch.setattr(tokens, "DEAD", threshold)
    monkeypatch.setattr(tokens, "DECAY", 0.8)  # so that ten steps make them dead
    bottleneck = trained(VQConfig(size=16), steps=1)
    book = bottleneck.quantiser.layers[0]._codebook
    book.embed[0, 4:] = 1000.0
    book.embed_avg[0, 4:] = 1000.0
    book.cluster_size[0, 4:] = 1.0
    bottleneck.train()
    for _ in range(20):
        used = bottleneck(torch.randn(8, 4, 32))
    _, share = use_of(used.tokens, 16)
    assert (share[0] > 0.9) == revived
    assert (share[0] < 0.4) == (not revived)


def test_what_is_not_finite_leaves_codebooks_alone() -> None:
    bottleneck = trained(VQConfig(books=2, size=8)).train()
    before = {key: value.clone() for key, value in bottleneck.state_dict().items()}
    broken = torch.randn(2, 4, 16)
    broken[0, 0, 0] = float("nan")
    bottleneck(broken)
    assert all(torch.equal(value, before[key]) for key, value in bottleneck.state_dict().items())
    bottleneck(torch.randn(2, 4, 16))
    after = bottleneck.state_dict()
    assert not all(torch.equal(value, before[key]) for key, value in after.items())


def test_fsq_rounds_every_latent_alone() -> None:
    bottleneck = TokenBottleneck(FSQConfig(levels=(5, 3)), 2)
    latents = 3 * torch.randn(4, 2, 200)
    quantised = bottleneck(latents)
    assert quantised.tokens.unique().tolist() == list(range(15))
    assert len(quantised.latents[:, 0].unique()) == 5
    assert len(quantised.latents[:, 1].unique()) == 3
    assert torch.equal(bottleneck.lookup(quantised.tokens), quantised.latents)


def test_use_of_codes() -> None:
    evenly, one = torch.arange(8).repeat(2, 5), torch.full((2, 40), 3)
    left_out = torch.full((2, 40), LEFT_OUT)
    perplexity, share = use_of(torch.stack([evenly, one, left_out], dim=1), 16)
    assert perplexity[:2].tolist() == pytest.approx([8, 1])
    assert share[:2].tolist() == pytest.approx([0.5, 1 / 16])
    assert perplexity[2].isnan()
    assert share[2].isnan()


def test_without_the_package_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(MissingPackageError, match=r"needs vector-quantize-pytorch.*\[tokens\]"):
        TokenBottleneck(VQConfig(), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": {"kind": "fsq", "levels": [5, 5]}}, "tokens.levels has 2 entries, expected"),
        ({"tokens": {"kind": "fsq", "levels": [64, 64, 64, 3]}}, "786432 codes, at most 65536"),
        ({"tokens": {"kind": "vq", "size": 1}}, "size"),
    ],
)
def test_configs_that_cannot_be(changes: dict, message: str) -> None:
    base = {
        "name": "x",
        "sample_rate": 16000,
        "latent_dim": 4,
        "network": {"kind": "spectral"},
    }
    with pytest.raises(ConfigError, match=message):
        validate(ModelConfig, {**base, **changes}, "here")
