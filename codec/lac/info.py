"""What a .lac file says of itself, and its bit rate over time; needs no model."""

from __future__ import annotations

from typing import Any

from codec.entropy.quantise import step_multiple
from codec.lac.reader import LacReader


def file_facts(reader: LacReader, size: int) -> dict[str, Any]:
    """What stands in a file of ``size`` bytes; None for what is lost."""
    header = reader.header
    seconds = reader.samples / header.sample_rate if reader.samples is not None else None
    return {
        "seconds": seconds,
        "samples": reader.samples,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "bytes": size,
        "kbps": size * 8 / seconds / 1000 if seconds else None,
        "model": header.model,
        "coding_id": header.coding_id.hex(),
        "model_sample_rate": header.model_sample_rate,
        "hop_length": header.hop_length,
        "latent_dim": header.latent_dim,
        "coded_channels": header.coded_channels,
        "context_coded": header.context_coded,
        "tokens": header.tokens,
        **_step_facts(reader),
        "layered": header.layered,
        "layer_kbps": reader.layer_bytes * 8 / seconds / 1000 if seconds else None,
        "blocks": reader.block_count,
        "damaged_blocks": reader.damaged,
        "damaged_layers": reader.damaged_layers,
        "complete": reader.complete,
        "tags": header.tags,
    }


def _step_facts(reader: LacReader) -> dict[str, Any]:
    """The range of its blocks' steps, or of their books."""
    steps = [step for step in reader.block_steps if step is not None]
    finest, coarsest = min(steps, default=None), max(steps, default=None)
    if reader.header.tokens:
        books = reader.header.latent_dim
        return {
            "most_books": None if finest is None else books - finest,
            "fewest_books": None if coarsest is None else books - coarsest,
        }
    return {
        "finest_step_in_sigmas": None if finest is None else step_multiple(finest),
        "coarsest_step_in_sigmas": None if coarsest is None else step_multiple(coarsest),
    }


def block_rates(reader: LacReader) -> dict[str, Any]:
    """Bytes, seconds and kbps of each block, None for lost ones, and kbps over the others.

    All that belongs to a block counts; header, index and footer do not.
    """
    frame = reader.header.hop_length / reader.header.model_sample_rate
    full = reader.header.frames_per_block
    frames = [min(full, reader.frames - i * full) for i in range(reader.block_count)]
    seconds = [count * frame for count in frames]
    sizes = reader.block_bytes
    rates = [
        None if size is None else size * 8 / duration / 1000
        for size, duration in zip(sizes, seconds, strict=True)
    ]
    intact = [rate for rate in rates if rate is not None]
    return {
        "bytes_per_block": sizes,
        "seconds_per_block": seconds,
        "kbps_per_block": rates,
        "min_kbps": min(intact, default=None),
        "mean_kbps": _mean_kbps(sizes, seconds),
        "max_kbps": max(intact, default=None),
    }


def _mean_kbps(sizes: list[int | None], seconds: list[float]) -> float | None:
    """Mean bit rate of several blocks, lost ones left out; None if all are lost."""
    intact = [(size, time) for size, time in zip(sizes, seconds, strict=True) if size is not None]
    if not intact:
        return None
    return sum(size for size, _ in intact) * 8 / sum(time for _, time in intact) / 1000


MAX_COLUMNS = 60


def rate_lines(rates: dict[str, Any], unicode: bool) -> list[str]:
    """A line of bars, each the mean of as many blocks as make at most MAX_COLUMNS of them."""
    sizes, seconds = rates["bytes_per_block"], rates["seconds_per_block"]
    if rates["mean_kbps"] is None:
        return [f"{'kbps of blocks':18} none is whole"]
    low, mean, high = (rates[f"{name}_kbps"] for name in ("min", "mean", "max"))
    step = -(-len(sizes) // MAX_COLUMNS)
    columns = [
        _mean_kbps(sizes[i : i + step], seconds[i : i + step]) for i in range(0, len(sizes), step)
    ]
    most = max(column for column in columns if column is not None)
    levels = "▁▂▃▄▅▆▇█" if unicode else "_.:-=+*#"
    bars = "".join(
        "?" if column is None else levels[min(int(column / most * len(levels)), len(levels) - 1)]
        for column in columns
    )
    lost = "; ?: lost" if "?" in bars else ""
    return [
        f"{'kbps of blocks':18} {low:.3f} to {high:.3f}, mean {mean:.3f}",
        f"{'kbps over time':18} {bars}",
        f"{'':18} 0 to {most:.3f}; a column is {sum(seconds[:step]):.3g} s{lost}",
    ]
