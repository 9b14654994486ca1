"""The options that commands share, each declared once, and what most commands do first."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import CycloptsError, Group, Parameter
from cyclopts.validators import Number

from codec.errors import LacunaError
from codec.process import set_threads
from codec.text import printable_lines

if TYPE_CHECKING:
    from codec.api import Codec
    from codec.lac.rate import RateTarget

EXIT_DAMAGED = 3
"""Exit code when a file was damaged and only a part of it could be used."""

ONE_OR_MORE = Parameter(validator=Number(gte=1))
ZERO_OR_MORE = Parameter(validator=Number(gte=0))
ABOVE_ZERO = Parameter(validator=Number(gt=0))


def _refuse_options(_: object, value: object) -> None:
    words = value if isinstance(value, tuple) else (value,)
    for word in words:
        if isinstance(word, str) and word.startswith("-") and word != "-":
            raise CycloptsError(msg=f"Unknown option: {word}.")


def word(name: str, help: str) -> Parameter:
    """An argument that may be '-', a standard stream, and no other word that starts with '-'."""
    return Parameter(name=name, help=help, allow_leading_hyphen=True, validator=_refuse_options)


Model = Annotated[
    str, Parameter(alias="-m", help="A shipped model's name, or a checkpoint's path.")
]
Force = Annotated[bool, Parameter(alias="-f", help="Overwrite an existing output file.")]
AsJson = Annotated[bool, Parameter(name="--json", help="Print one JSON object.")]


_MACHINE = Group("Where it runs", sort_key=2)


@Parameter(name="*", group=_MACHINE)
@dataclass(frozen=True, kw_only=True)
class Compute:
    """Options of every command that runs a network."""

    device: str = "cpu"
    """Where the network runs: cpu, cuda, cuda:1, mps."""
    threads: Annotated[int | None, ONE_OR_MORE, Parameter(show_default="all cores")] = None
    """CPU threads."""

    def use(self) -> None:
        """To be called first: what it loads takes a second or more, and it says so.

        Raises:
            LacunaError: a device that torch does not know or that is not there.
        """
        from codec.progress import working

        with working("starting"):
            import torch

            import codec.api  # noqa: F401 - all that the commands need

        try:
            torch.zeros(1, device=self.device).cpu()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise LacunaError(
                f"cannot use device '{self.device}': {reason}; try --device cpu"
            ) from None
        if self.threads is not None:
            set_threads(self.threads)

    def load(self, model: str) -> Codec:
        """After ``use``: a codec on this device."""
        from codec.api import load
        from codec.progress import working

        with working("loading the model"):
            return load(model, self.device)


@Parameter(name="*", group=_MACHINE)
@dataclass(frozen=True, kw_only=True)
class Accelerated:
    """Options of every command that leaves devices and processes to Accelerate."""

    device: Literal["auto", "cpu"] = "auto"
    """cpu, or auto for what Accelerate finds."""
    threads: Annotated[int | None, ONE_OR_MORE, Parameter(show_default="all cores")] = None
    """CPU threads of each process."""

    @property
    def cpu(self) -> bool:
        return self.device == "cpu"

    def use(self) -> None:
        if self.threads is not None:
            set_threads(self.threads)


@Parameter(name="*", group=Group("How many bits", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class Rate:
    """Options of every command that writes .lac files."""

    kbps: Annotated[float | None, Parameter(show_default="3 per channel")] = None
    """Ceiling for each file's bit rate, in 1000 bits per second of the whole file."""
    quality: Annotated[float | None, Parameter(show_default=False)] = None
    """Instead of a rate: 0 (smallest) to 10 (best); above 4 a file follows the waveform."""
    max_kbps: Annotated[float | None, Parameter(show_default="none")] = None
    """Ceiling for each block of 256 frames, 6 to 12 s."""
    search: Annotated[int | None, Parameter(show_default="30")] = None
    """Steps by which latents are improved where a file is latents alone, up to 2.5 kbps per
    channel; 0 is off and fast."""

    def target(self) -> RateTarget:
        from codec.lac.rate import RateTarget

        return RateTarget(self.kbps, self.quality, self.max_kbps, self.search)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AudioOutput:
    """Options of every command that writes audio files."""

    bits: Annotated[str | None, Parameter(show_default="16")] = None
    """Sample format: 16, 24 or float."""
    force: Force = False


@Parameter(name="*", group=Group("Whole folders", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class Folders:
    """Options of every command that takes a folder of files."""

    out_dir: Annotated[Path | None, Parameter(metavar="DIR")] = None
    """Folder for the results; IN may then be a folder."""
    workers: Annotated[
        int | None, ONE_OR_MORE, Parameter(show_default="one per core, 1 on a GPU")
    ] = None
    """With --out-dir: processes, each at a file, with one thread if there are several."""
    as_json: Annotated[bool, Parameter(name="--json")] = False
    """Print a JSON object for each file, and a summary."""


def say(message: str) -> None:
    """Reports go to standard error: standard output may be the audio.

    Whatever a message repeats from a file, its name included, reaches the terminal as text only.
    """
    print(printable_lines(message), file=sys.stderr)


def refuse_own_input(source: str, target: str) -> None:
    """Not even --force may replace the file that is being read."""
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise LacunaError(f"'{target}' is the input; give the output another name")


def expect_suffix(target: str, suffix: str) -> None:
    """Swapped or forgotten arguments must not give, say, a .wav that is none."""
    if Path(target).suffix.lower() != suffix:
        raise LacunaError(f"'{target}': expected an output name that ends in {suffix}")
