"""The models that the studio uses, loaded when they are first needed."""

from __future__ import annotations

from functools import cached_property

from codec.api import Codec
from codec.api import Models as CodecModels
from diffusion.generation import Generator, load_checkpoint, with_codec
from diffusion.studio.jobs import Watch


class StudioModels:
    """Codecs to compress with, and a diffusion model.

    Args:
        model: a diffusion model's name or path.
        codec: of a codec, for all that is done; without it the best for a rate, and the one that
            the diffusion model was trained on.
        adapter: the path of one for the diffusion model.

    Raises:
        CheckpointError: a checkpoint that is missing, damaged or of something else.
    """

    def __init__(
        self, model: str, codec: str | None, device: str, adapter: str | None = None
    ) -> None:
        self.model, self.codec = model, codec
        self._device = device
        self.codecs = CodecModels(codec, device)
        self._loaded = load_checkpoint(model, adapter)
        self.labels = self._loaded.labels

    @cached_property
    def _generator(self) -> Generator:
        return with_codec(self._loaded, self.codec, self._device)

    def generator(self, watch: Watch) -> Generator:
        watch("loading the models", 0, None)
        return self._generator

    def editing_codec(self, watch: Watch) -> Codec:
        """The codec of edits that need no diffusion model, chosen as `lacuna interpolate` does."""
        from codec.model.shipped import DEFAULT_MODEL

        watch("loading the model", 0, None)
        return self.codecs.load(self.codec or DEFAULT_MODEL)
