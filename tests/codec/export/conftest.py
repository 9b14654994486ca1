"""Graphs of a tiny spectral map, exported once: that takes a while."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from untrained import untrained

from codec.model.latent_codec import LatentCodec


@pytest.fixture(scope="session")
def map_codec() -> LatentCodec:
    """A spectral map that says where partials are, which an untrained one hardly does."""
    codec = untrained("map")
    with torch.no_grad():
        codec.autoencoder.decoder.map.head.weight.mul_(8)
    return codec


@pytest.fixture(scope="session")
def map_graphs(map_codec: LatentCodec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its graphs."""
    from codec.export.write import export

    folder = tmp_path_factory.mktemp("export")
    export(map_codec, folder)
    return folder
