"""Tiny codecs of tokens, one of each kind, trained in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_helpers import forget_accelerate

from codec.training.codec_task import CodecTask
from codec.training.decoder_task import DecoderTask
from codec.training.run import train_codec

KINDS = {
    "vq": '{kind = "vq", size = 32}',
    "residual": '{kind = "vq", books = 4, size = 16}',
    "fsq": '{kind = "fsq", levels = [5, 5, 4, 3]}',
}


def settings_of(kind: str) -> list[str]:
    return [f"model.tokens={KINDS[kind]}"]


def train_tokens(kind: str, audio: Path, out: Path, steps: int = 40, **arguments: Any) -> None:
    forget_accelerate()
    given = {"steps": steps, "validate_every": 20, "checkpoint_every": 20}
    with pytest.MonkeyPatch.context() as patch:
        for task in (CodecTask, DecoderTask):
            patch.setattr(task, "preview", lambda *arguments: None)
        train_codec(
            "tiny", audio, out, cpu=True, settings=settings_of(kind), overrides=given, **arguments
        )
