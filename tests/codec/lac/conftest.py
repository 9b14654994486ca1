"""Fixtures for tests of .lac files."""

from __future__ import annotations

import numpy as np
import pytest
from golden_coder import fixed_context, fixed_symbols, fixed_tables
from lac_helpers import (
    FRAMES,
    SAMPLES,
    STEPS,
    Pipe,
    make_header,
)

from codec.entropy.coder import SymbolCoder
from codec.lac.writer import LacWriter


@pytest.fixture(scope="module", params=["context", "static"])
def stepped(request: pytest.FixtureRequest) -> tuple[bytes, SymbolCoder, list[np.ndarray]]:
    """A file whose blocks have steps and silences of their own, its coder and its symbols."""
    tables = fixed_tables(4)
    coder: SymbolCoder = fixed_context(4) if request.param == "context" else tables
    out, blocks = Pipe(), []
    writer = LacWriter(out, make_header(context_coded=request.param == "context"), coder)
    for index, step in enumerate(STEPS):
        symbols = fixed_symbols((2, 4, 7 if index == 7 else FRAMES), tables.at(step).limit)
        silent = np.array([index in (2, 5), index in (1, 2)])
        writer.write_block(symbols, step, silent)
        blocks.append(np.where(silent[:, None, None], 0, symbols))
    writer.close(SAMPLES)
    return out.data, coder, blocks
