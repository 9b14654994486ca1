"""A checkpoint without its encoder: half the size, for models whose files must still open.

    python tools/drop_encoder.py codec/weights/small.safetensors codec/weights/earlier

writes codec/weights/earlier/NAME-LATENT_ID.safetensors. Everything that decoding needs is kept as
it is, the latent_id too; asked to encode, such a model says that it cannot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codec.model import checkpoint
from codec.network.autoencoder import NoEncoder


def main(
    source: Annotated[Path, typer.Argument(help="A whole checkpoint.")],
    folder: Annotated[Path, typer.Argument(help="Where NAME-LATENT_ID.safetensors goes.")],
) -> None:
    """Write SOURCE without its encoder."""
    loaded = checkpoint.load(source)
    loaded.autoencoder.encoder = NoEncoder(loaded.latent_id)
    target = folder / f"{loaded.config.name}-{loaded.latent_id}.safetensors"
    checkpoint.save(loaded, target)
    before, after = (path.stat().st_size / 1e6 for path in (source, target))
    print(f"{target}: {after:.1f} MB, with the encoder {before:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
