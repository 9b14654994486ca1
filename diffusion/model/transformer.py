"""The network of the diffusion stage: a transformer over latent frames.

    x_t, known, mask, dequantised -> one token per frame -+
                                                          +-> depth x (attention, feed-forward)
    learned memory tokens --------------------------------+          ^                  -> velocity
    t, label, present, step -> embedding ----------------------------+
                                                      scales, shifts and gates (AdaLN-zero)

All coded channels of a frame share its token. Peebles & Xie 2023, "Scalable diffusion models with
transformers", with RMS norms, rotary positions (Su et al. 2021, "RoFormer"), normalised queries and
keys (Henry et al. 2020; Dehghani et al. 2023) and SwiGLU (Shazeer 2020, "GLU variants improve
transformer").
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from diffusion.model.conditioning import Conditioning
from diffusion.model.config import DiffusionConfig, TransformerConfig

EPS = 1e-6
ROPE_BASE = 1000.0
"""The slowest rotary pair turns once in some 4,000 frames: more than any sequence has."""
FOURIER_FEATURES = 64
MODULATION_RANK = 64
"""Full matrices from the condition would be a third of all weights."""


class Transformer(nn.Module):
    """Predicts the velocity (see flow.py) from noisy latents.

    The last layer starts at zero, and so does every block's contribution: an untrained network
    predicts zero. Absent channels are zeroed at the input, so what they hold has no influence.
    What says the quantised latents starts at zero too: weights that know nothing of them are a
    start for a network that denoises.
    """

    def __init__(self, config: DiffusionConfig, labels: int) -> None:
        super().__init__()
        settings = config.transformer
        width = settings.width
        values = config.coded_channels * config.latent_dim
        self.config = config
        self.head_dim = width // settings.heads
        self.embed_frame = nn.Linear(2 * values + 1, width)
        self.embed_dequantised = nn.Linear(values, width, bias=False)
        self.embed_condition = ConditionEmbedding(width, labels, config.coded_channels)
        self.memory = nn.Parameter(torch.empty(settings.memory_tokens, width))
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.depth))
        self.modulate = Modulation(width, 2)
        self.head = nn.Linear(width, values)
        self.apply(_initialise)
        nn.init.normal_(self.memory, std=0.02)
        for layer in (self.head, self.embed_dequantised, self.embed_condition.step):
            nn.init.zeros_(layer.weight)

    def forward(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """Any number of frames.

        Args:
            x_t: (batch, coded_channels, latent_dim, frames).
            t: (batch,), 0 (data) to 1 (noise).

        Returns:
            The velocity, of the shape of ``x_t``.
        """
        config = self.config
        batch, _, _, frames = x_t.shape
        assert x_t.shape[1:3] == (config.coded_channels, config.latent_dim), x_t.shape
        assert conditioning.known.shape == x_t.shape, conditioning.known.shape
        present = conditioning.present[:, :, None, None]
        mask = conditioning.mask[:, None, None, :]
        tokens = torch.cat(
            [
                rearrange(x_t * present, "b c d t -> b t (c d)"),
                rearrange(conditioning.known * present * mask, "b c d t -> b t (c d)"),
                conditioning.mask[:, :, None],
            ],
            dim=2,
        )
        quantised = present * conditioning.quantised[:, None, None, None]
        dequantised = rearrange(conditioning.dequantised * quantised, "b c d t -> b t (c d)")
        embedded = self.embed_frame(tokens) + self.embed_dequantised(dequantised)
        x = torch.cat([self.memory.expand(batch, -1, -1), embedded], dim=1)
        condition = self.embed_condition(t, conditioning)
        positions = torch.arange(frames, device=x.device, dtype=torch.float32)
        rotation = rotary_table(positions, len(self.memory), self.head_dim)
        for block in self.blocks:
            x = block(x, condition, rotation)
        x = x[:, len(self.memory) :]
        shift, scale = self.modulate(condition)
        y = self.head(_norm(x, shift, scale))
        return rearrange(y, "b t (c d) -> b c d t", c=config.coded_channels)


class ConditionEmbedding(nn.Module):
    """Time, label, present channels and quantiser step as one vector: (batch, width)."""

    def __init__(self, width: int, labels: int, coded_channels: int) -> None:
        super().__init__()
        self.time = nn.Sequential(
            nn.Linear(FOURIER_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.label = nn.Embedding(labels + 1, width)
        self.present = nn.Linear(coded_channels, width)
        self.step = nn.Linear(FOURIER_FEATURES, width)

    def forward(self, t: Tensor, conditioning: Conditioning) -> Tensor:
        step = self.step(_fourier(conditioning.log_step[:, None], lowest=0.2, highest=10.0))
        embedded = (
            self.time(_fourier(t[:, None], lowest=1.0, highest=200.0))  # steps of 0.01
            + self.label(conditioning.label)
            + self.present(conditioning.present)
            + conditioning.quantised[:, None] * step
        )
        return F.silu(embedded)


class Modulation(nn.Module):
    """``count`` vectors from the condition: (batch, width) -> count x (batch, 1, width).

    Starts at zero. Of low rank, as in NVIDIA 2025, "Cosmos world foundation model platform for
    physical AI" (AdaLN-LoRA).
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.reduce = nn.Linear(width, min(width, MODULATION_RANK), bias=False)
        self.project = nn.Linear(self.reduce.out_features, count * width)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        return self.project(self.reduce(condition))[:, None].chunk(self.count, dim=2)


class Block(nn.Module):
    """Attention, then a feed-forward layer, each scaled, shifted and gated by the condition.

    Shape: (batch, memory + frames, width) -> the same
    """

    def __init__(self, settings: TransformerConfig) -> None:
        super().__init__()
        self.modulate = Modulation(settings.width, 6)
        self.attention = Attention(settings.width, settings.heads)
        self.feed_forward = SwiGLU(settings.width, settings.expansion)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, condition: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        shift, scale, gate, ff_shift, ff_scale, ff_gate = self.modulate(condition)
        y = self.attention(_norm(x, shift, scale), rotation)
        x = torch.addcmul(x, gate, self.dropout(y))
        y = self.feed_forward(_norm(x, ff_shift, ff_scale))
        return torch.addcmul(x, ff_gate, self.dropout(y))


class Attention(nn.Module):
    """Every token attends to every other one."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width, bias=False)
        self.norm_query = nn.RMSNorm(width // heads, eps=EPS)
        self.norm_key = nn.RMSNorm(width // heads, eps=EPS)
        self.project_out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """``rotation`` comes from ``rotary_table``."""
        qkv = rearrange(
            self.project_in(x), "b n (three h d) -> three b h n d", three=3, h=self.heads
        )
        query, key, value = qkv
        # Normalised in float32, whatever autocast made of the projection.
        query = rotate(self.norm_query(query.float()), rotation).to(value.dtype)
        key = rotate(self.norm_key(key.float()), rotation).to(value.dtype)
        y = F.scaled_dot_product_attention(query, key, value)
        return self.project_out(rearrange(y, "b h n d -> b n (h d)"))


class SwiGLU(nn.Module):
    """Feed-forward layer with a gate: W3 (silu(W1 x) * W2 x)."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * expansion * width, bias=False)
        self.contract = nn.Linear(expansion * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, hidden = self.expand(x).chunk(2, dim=-1)
        return self.contract(F.silu(gate) * hidden)


def rotary_table(positions: Tensor, memory_tokens: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines for ``rotate``: each (memory_tokens + frames, head_dim / 2).

    Half of the pairs of a head turn with the frame's position; the other half stay as they are. A
    memory token has no position: its turning pairs are zeroed, so that it meets frames only in
    the others, and what passes between them does not depend on where the frames stand. So the
    attention knows only the distances between frames.

    Args:
        positions: (frames,) float, in frames.
    """
    turning = head_dim // 4
    rates = ROPE_BASE ** (-torch.arange(turning, device=positions.device) / turning)
    angles = positions[:, None] * rates
    ones = angles.new_ones(memory_tokens + len(positions), head_dim // 2 - turning)
    cos = torch.cat([F.pad(angles.cos(), (0, 0, memory_tokens, 0)), ones], dim=1)
    sin = torch.cat([F.pad(angles.sin(), (0, 0, memory_tokens, 0)), 0 * ones], dim=1)
    return cos, sin


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (i, i + head_dim / 2) of (batch, heads, tokens, head_dim)."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """RMS norm without weights of its own, then the condition's scale and shift."""
    return torch.addcmul(shift, F.rms_norm(x, x.shape[-1:], eps=EPS), 1 + scale)


def _fourier(values: Tensor, lowest: float, highest: float) -> Tensor:
    """(batch, 1) -> (batch, FOURIER_FEATURES): cosines and sines at geometric frequencies."""
    frequencies = torch.logspace(
        math.log10(lowest), math.log10(highest), FOURIER_FEATURES // 2, device=values.device
    )
    angles = values.float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        # As large as what it is added to: from 0.02 the labels of a small data set hardly grow.
        nn.init.normal_(module.weight, std=0.5)
    elif isinstance(module, Modulation):  # visited after the projection inside it
        nn.init.zeros_(module.project.weight)
