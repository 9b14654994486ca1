"""torch.compile for the blocks of a network, and a run with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from pathlib import Path

import pytest
from torch import nn

from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.network.layers import ConvNeXtBlock
from codec.training.compiling import compile_blocks
from codec.training.loop import Trainer


def test_blocks_that_repeat_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)
    blocks = compile_blocks(Autoencoder(load_model_config("tiny")))
    assert [type(block) for block in blocks] == [ConvNeXtBlock] * 4


def test_a_compiled_run_trains_the_same(
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    read_log: Callable[..., list[dict[str, float]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without code generation, for which a test machine may have no compiler.
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    for name, compiled in (("plain", False), ("compiled", True)):
        make_trainer(tmp_path / name, compile=compiled, steps=3).train()
    for plain, compiled in zip(
        *(read_log(tmp_path / name) for name in ("plain", "compiled")), strict=True
    ):
        assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-3)
    assert (tmp_path / "compiled" / "model.safetensors").is_file()
