"""The decoder of one checkpoint, moved towards that of another with the same encoder.

Adversarial training trades distance for texture; between the decoders before and after it lie all
degrees of that (Wang et al. 2018, "ESRGAN", section 3.4, network interpolation). Encoder, context
model and latent_id stay those of the first checkpoint, so with --share 1 a decoder that was trained
on joins a context model that was fitted meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from codec.model import checkpoint


def main(
    first: Annotated[Path, typer.Argument(help="Encoder, context model and where to start.")],
    second: Annotated[Path, typer.Argument(help="What to move towards.")],
    out: Path,
    share: Annotated[float, typer.Option(min=0, max=1, help="How far.")] = 0.5,
) -> None:
    """Write FIRST with a blend of both decoders to OUT."""
    one, other = checkpoint.load(first), checkpoint.load(second)
    ours, theirs = one.autoencoder.state_dict(), other.autoencoder.state_dict()
    same = one.config == other.config and all(
        torch.equal(ours[key], theirs[key]) for key in ours if key.startswith("encoder.")
    )
    if not same or not torch.equal(one.statistics.sigma, other.statistics.sigma):
        raise typer.BadParameter(f"{second} has another encoder or config than {first}")
    for key in ours:
        ours[key] = torch.lerp(ours[key], theirs[key], share)
    one.autoencoder.load_state_dict(ours)
    told = {**other.provenance, "blended": {"with": one.provenance, "share": share}}
    blended = replace(one, provenance=told)
    checkpoint.save(blended, out)
    print(f"{out}: latent_id {blended.latent_id}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
