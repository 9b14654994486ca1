"""What a person sees of a run: TensorBoard, log.jsonl, lines on standard error, a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from codec.files import atomic_path
from codec.training.run_folder import RunState

SHOWN = ("loss", "stft", "mel", "kbps")
"""Values beside the progress bar."""


class RunLog:
    """The log of a run's folder, without the lines that a restarted run will repeat."""

    def __init__(self, folder: Path, state: RunState) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._state = state
        self._path = folder / "log.jsonl"
        if self._path.exists():
            self._drop_lines_after(state.step)
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=state.step + 1)

    def _drop_lines_after(self, step: int) -> None:
        lines = self._path.read_text(encoding="utf-8").splitlines()
        whole = [line for line in lines if line.endswith("}")]
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        with atomic_path(self._path, force=True) as partial:
            partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def add(self, kind: str, values: dict[str, float]) -> None:
        """``kind`` is "train" or "valid"."""
        step = self._state.step
        for key, value in values.items():
            self.writer.add_scalar(f"{kind}/{key}", value, step)
        line = {"kind": kind, "step": step, **values}
        line["minutes"] = round(self._state.seconds / 60, 2)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if kind == "valid" or not sys.stderr.isatty():
            text = "  ".join(f"{k} {v:.4g}" for k, v in values.items())
            print(f"step {step} {kind}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        self.writer.close()


@contextmanager
def training_progress(
    steps: int, step: int, *, shown: bool
) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A bar; yields a function to call with the step and what was logged in it."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        disable=not (shown and sys.stderr.isatty()),
        transient=False,
    )
    with nullcontext() if bar.disable else bar:  # as in codec/progress.py
        job = bar.add_task("training", total=steps, completed=step)

        def show(step: int, logs: dict[str, float]) -> None:
            bar.update(job, completed=step)
            if logs:
                text = " ".join(f"{k} {logs[k]:.3f}" for k in SHOWN if k in logs)
                bar.update(job, description=text)

        yield show
