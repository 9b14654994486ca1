"""The options that the diffusion stage's commands share, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from codec.cli.options import ZERO_OR_MORE, Compute, word
from diffusion.model.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from diffusion.generation import Generator, Sampling

Source = Annotated[str, word("IN", "Audio file; '-' is stdin.")]
Target = Annotated[str, word("OUT", "Audio file to write; '-' is stdout.")]
CodecModel = Annotated[
    str, Parameter(name="--codec", help="A shipped codec's name, or a checkpoint's path.")
]
Count = Annotated[
    int, Parameter(help="So many files: OUT-1.wav, OUT-2.wav, ... if it is more than 1.")
]
KeepOriginal = Annotated[
    bool, Parameter(help="Take what is not made anew from the input, not from its latents.")
]


@Parameter(name="*", group=Group("Sampling", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Options of every command that makes sound with the diffusion model."""

    label: str | None = None
    """What it is to sound like, several in shares as rain:0.7,fire:0.3; a wrong one lists all."""
    seed: Annotated[int, ZERO_OR_MORE] = 0
    """The same seed gives the same file."""
    steps: int = 12
    """Steps of the sampler, 1 to 100: more are slower and finer."""
    guidance: float = 2.0
    """How hard to push towards --label; 1 is not at all."""
    sampler: str = "dpmpp_2m"
    """euler, midpoint (two evaluations a step) or dpmpp_2m."""

    def sampling(self) -> Sampling:
        """Raises ConfigError for a value out of range."""
        from diffusion.generation import Sampling

        return Sampling(self.label, self.seed, self.steps, self.guidance, self.sampler)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Models:
    """A diffusion model and its codec."""

    model: Annotated[str, Parameter(alias="-m")] = DEFAULT_MODEL
    """A shipped diffusion model's name, or a checkpoint's path."""
    codec: Annotated[
        str | None, Parameter(show_default="the shipped one that the model was trained on")
    ] = None
    """A codec's name, or a checkpoint's path."""
    adapter: Annotated[str | None, Parameter(metavar="FILE", show_default="none")] = None
    """What `lacuna train adapter` wrote for this model; --label may be its own."""

    def load(self, compute: Compute) -> Generator:
        """After ``compute.use()``."""
        from codec.progress import working
        from diffusion.generation import load

        with working("loading the models"):
            return load(self.model, self.codec, compute.device, adapter=self.adapter)
