"""The state of a run on disk, from which a restarted one goes on: never a pickle.

A run can be killed at any moment: a state is written beside the old one and then renamed.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from codec.errors import CheckpointError
from codec.files import unicode_path

KEPT = 2
"""States that are kept: the newest, and one to go back to."""


def folder_of(out: Path | None, config: str, data: Path) -> tuple[Path, dict[str, str]]:
    """A run's folder, and what else belongs to the settings that it is claimed with.

    Without ``out`` it is ``runs/small-piano`` for ``small`` on ``music/piano``; so that folders of
    the same name do not share it, the data's path is one of the settings there.
    """
    default = Path("runs") / f"{Path(config).stem}-{data.resolve().name}"
    out = out or default
    return out, {"--data": str(data.resolve())} if out == default else {}


@dataclass
class RunState:
    """Where a run stands, apart from tensors."""

    step: int = 0
    seconds: float = 0.0
    bad_steps: int = 0
    opponent_bad_steps: int = 0
    best_score: float = math.inf
    precision: str = ""
    """What was measured to be faster, "bf16" or "no", and on which kind of device."""
    scaler: dict[str, float] = field(default_factory=dict)
    task: dict[str, float] = field(default_factory=dict)


class SavedStates:
    """``state/step-*`` of a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted((self.folder / "state").glob("step-*"))

    def save(self, state: RunState, tensors: dict[str, Tensor]) -> None:
        target = self.folder / "state" / f"step-{state.step:08d}"
        partial = target.with_name(f".partial-{target.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial / "tensors.safetensors")
        (partial / "state.json").write_text(json.dumps(asdict(state), indent=1))
        for file in partial.iterdir():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        for old in self.paths()[:-KEPT]:
            shutil.rmtree(old)

    def load(self, path: Path) -> tuple[RunState, dict[str, Tensor]]:
        """What :meth:`save` wrote.

        Raises:
            CheckpointError: it is damaged.
        """
        try:
            with unicode_path(path / "tensors.safetensors") as named:
                tensors = load_file(named)
            return RunState(**json.loads((path / "state.json").read_text())), tensors
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise cannot_take_up(path, error) from None


def cannot_take_up(path: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"'{path}' cannot be taken up by this run: {reason}\n"
        f"Use another --out folder for another config, or delete this checkpoint to go back to the "
        f"one before"
    )


def tensors_below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, without it."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def tensors_named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`tensors_below`."""
    return {prefix + key: value for key, value in tensors.items()}
