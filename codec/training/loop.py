"""The training loop, shared by everything that is trained here.

A :class:`Task` says what a step's loss is, how to validate and what to export; the loop does the
rest: Accelerate, gradient accumulation and clipping, learning rate, moving average, logs,
checkpoints, wall-clock budgets and restarts.

A run can be killed at any moment. Everything a step depends on is either in the last checkpoint
or a function of the step's number, so that a restarted run repeats the losses of an unbroken one.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from codec.errors import CheckpointError, LacunaError
from codec.files import atomic_path
from codec.training.compiling import compile_blocks
from codec.training.config import LoopConfig, OptimizerConfig

MAX_BAD_STEPS = 50
"""Consecutive steps with a non-finite gradient after which a run stops."""

DIVERGED = 2.0
"""A run against an opponent stops when its score is so many times the best one."""

KEPT_CHECKPOINTS = 2


class Average(Protocol):
    """A moving average of weights; :class:`AveragedModel` is one."""

    @property
    def module(self) -> nn.Module:
        """What is validated and exported."""
        ...

    def update_parameters(self, model: nn.Module) -> None: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> Any: ...


class Task(Protocol):
    """What is trained.

    ``model`` is the bare module. ``loss`` gets it in its wrapped form; ``validate``, ``preview``
    and ``export`` get the module of its average.
    """

    @property
    def model(self) -> nn.Module: ...

    @property
    def item_seconds(self) -> float:
        """How much audio an item is."""
        ...

    def average(self) -> Average:
        """A new moving average of ``model``, on its device."""
        ...

    def loss(
        self, model: nn.Module, indices: range, step: int
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss of items ``indices``, averaged over them, and values to log."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Values to log; ``score``, lower is better, decides which weights are the best."""
        ...

    def preview(self, model: nn.Module, writer: SummaryWriter, step: int) -> None: ...

    def export(self, model: nn.Module, path: Path, provenance: dict[str, Any]) -> None:
        """Write the checkpoint that users load."""
        ...

    def state(self) -> dict[str, float]: ...

    def load_state(self, state: dict[str, float]) -> None: ...


class Opponent(Protocol):
    """What the task's model is trained against, such as the discriminators of an adversarial loss.

    It is trained beside the model, on what the model made in ``Task.loss``, and has an optimiser
    of its own.
    """

    def backward(self, share: float) -> None:
        """Add ``share`` of the gradient of its loss on the items of the latest ``Task.loss``."""
        ...

    def step(self, rate: float) -> bool:
        """Take an optimiser step, at ``rate`` times its peak learning rate.

        Processes must agree on the gradient. One that is not finite is dropped; then this is False.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and optimiser."""
        ...

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> Any: ...


@dataclass
class RunState:
    """Where a run stands, apart from tensors."""

    step: int = 0
    seconds: float = 0.0
    bad_steps: int = 0
    opponent_bad_steps: int = 0
    best_score: float = math.inf
    scaler: dict[str, float] = field(default_factory=dict)
    task: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """Limits in wall-clock minutes.

    ``minutes`` ends this call and changes nothing else. ``schedule_minutes`` spreads the learning
    rate's schedule over that much training time, summed over all calls, in place of steps.
    """

    minutes: float | None = None
    schedule_minutes: float | None = None


def learning_rate(config: OptimizerConfig, step: int, progress: float) -> float:
    """Linear warm-up over steps, then a cosine over ``progress`` from 0 to 1."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * warmup * (config.final_rate + (1 - config.final_rate) * cosine)


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of the weights, with a short memory while the run is young."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        n = float(count)
        weight = 1 - min(decay, (1 + n) / (10 + n))
        for old, new in zip(averaged, current, strict=True):
            old.lerp_(new, weight)

    return AveragedModel(model, multi_avg_fn=update)


class Trainer:
    """One run in one folder: ``train()`` starts it or takes it up where it stopped."""

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        folder: Path,
        accelerator: Accelerator,
        budget: Budget | None = None,
        provenance: dict[str, Any] | None = None,
        opponent: Opponent | None = None,
        *,
        validate_first: bool = False,
    ) -> None:
        """``validate_first`` counts the initial weights among those that may be the best."""
        shares = config.accumulate * accelerator.num_processes
        if config.batch_size % shares:
            raise LacunaError(
                f"batch_size {config.batch_size} cannot be split over {config.accumulate} "
                f"accumulation steps x {accelerator.num_processes} processes; "
                f"make it a multiple of {shares}"
            )
        self.task = task
        self.config = config
        self.folder = folder
        self.accelerator = accelerator
        self.budget = budget or Budget()
        self.provenance = provenance or {}
        self.state = RunState()
        self._opponent = opponent
        self._validate_first = validate_first
        self._share = config.batch_size // shares

        task.model.to(accelerator.device)
        self.ema = task.average()
        optimizer = torch.optim.AdamW(
            task.model.parameters(),
            lr=config.optimizer.learning_rate,
            betas=config.optimizer.betas,
            weight_decay=config.optimizer.weight_decay,
        )
        self._restore(optimizer)
        if config.compile:
            compile_blocks(task.model)
        self.model, self.optimizer = accelerator.prepare(task.model, optimizer)
        if accelerator.scaler is not None and self.state.scaler:
            accelerator.scaler.load_state_dict(self.state.scaler)

    @property
    def finished(self) -> bool:
        """The schedule has come to its end."""
        return self._progress_of_schedule() >= 1.0

    # -- the run ---------------------------------------------------------------------------

    def train(self) -> RunState:
        """Train until the schedule or the budget ends, or a signal asks to stop.

        Raises:
            LacunaError: a gradient was not finite for many steps in a row, or the score of a run
                against an opponent has become far worse than it was.
        """
        config, state = self.config, self.state
        begin, earlier = time.monotonic(), state.seconds
        logged, logged_at = state.step, state.seconds
        writer = self._open_logs()
        validated = saved = state.step
        with _stop_signals() as stop, self._progress() as show:
            if self._validate_first and state.step == 0:
                self._validate(writer)
            while self._progress_of_schedule() < 1.0:
                logs = self._step()
                state.step += 1
                state.seconds = earlier + time.monotonic() - begin
                if state.step % config.log_every == 0:
                    logs["steps_per_second"] = (state.step - logged) / (state.seconds - logged_at)
                    logs["audio_hours"] = self._audio_hours()
                    logged, logged_at = state.step, state.seconds
                    self._log(writer, "train", logs)
                show(state.step, logs)
                if state.step % config.validate_every == 0:
                    self._validate(writer)
                    validated = state.step
                if state.step % config.checkpoint_every == 0:
                    self._save()
                    saved = state.step
                if self._should_stop(stop, time.monotonic() - begin):
                    break
            if validated != state.step:
                self._validate(writer)
            if saved != state.step:
                self._save()
        if writer is not None:
            writer.close()
        return state

    def _audio_hours(self) -> float:
        """How much audio the run has seen."""
        return self.state.step * self.config.batch_size * self.task.item_seconds / 3600

    def _progress_of_schedule(self) -> float:
        progress = self.state.step / self.config.steps
        if self.budget.schedule_minutes is not None:
            seconds = self._agree(self.state.seconds)
            progress = max(progress, seconds / (60 * self.budget.schedule_minutes))
        return progress

    def _should_stop(self, stop: list[int], seconds: float) -> bool:
        minutes = self.budget.minutes
        wanted = bool(stop) or (minutes is not None and seconds >= 60 * minutes)
        return bool(self._agree(wanted))

    def _agree(self, value: Any) -> Any:
        """The main process' value, in every process: their clocks and signals differ."""
        if self.accelerator.num_processes == 1:
            return value
        return broadcast_object_list([value])[0]

    def _step(self) -> dict[str, float]:
        config, accelerator = self.config, self.accelerator
        rate = learning_rate(config.optimizer, self.state.step, self._progress_of_schedule())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.task.model.train()
        totals: dict[str, Tensor | float] = {}
        norm = torch.zeros(())
        for part in range(config.accumulate):
            share = part * accelerator.num_processes + accelerator.process_index
            first = self.state.step * config.batch_size + share * self._share
            with accelerator.accumulate(self.model):
                with accelerator.autocast():
                    loss, logs = self.task.loss(
                        self.model, range(first, first + self._share), self.state.step
                    )
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(
                        self.model.parameters(), config.optimizer.clip_norm
                    )
                    self._apply(norm)
            if self._opponent is not None:
                self._opponent.backward(1 / config.accumulate)
            for key, value in {"loss": loss.detach(), **logs}.items():
                totals[key] = totals.get(key, 0.0) + value / config.accumulate
        if self._opponent is not None:
            finite = self._opponent.step(rate / config.optimizer.learning_rate)
            self.state.opponent_bad_steps = self._bad_steps(
                self.state.opponent_bad_steps, finite, "the discriminators' gradient"
            )
        keep = (self.state.step + 1) % config.log_every == 0
        if not keep:  # reading values back would make a GPU wait at every step
            return {}
        reduced = accelerator.reduce(
            {k: torch.as_tensor(v, device=accelerator.device) for k, v in totals.items()}, "mean"
        )
        means = {key: float(value) for key, value in reduced.items()}
        return {**means, "grad_norm": float(norm), "learning_rate": rate}

    def _apply(self, norm: Tensor) -> None:
        """One optimiser step, unless the gradient is not finite: then skip it and count."""
        finite = bool(torch.isfinite(norm))
        if finite or self.accelerator.scaler is not None:
            # A gradient scaler skips the step by itself, and lowers its scale only if called.
            self.optimizer.step()
        if finite:
            self.ema.update_parameters(self.task.model)
        self.state.bad_steps = self._bad_steps(self.state.bad_steps, finite, "the gradient")
        self.optimizer.zero_grad()

    def _bad_steps(self, before: int, finite: bool, what: str) -> int:
        """How many steps in a row have had a gradient that is not finite; raises at too many."""
        if finite:
            return 0
        if before + 1 >= MAX_BAD_STEPS:
            raise LacunaError(
                f"{what} was not finite for {MAX_BAD_STEPS} steps in a row, until step "
                f"{self.state.step + 1}; lower the learning rate and start again from the last "
                f"checkpoint in '{self.folder}'"
            )
        return before + 1

    def _validate(self, writer: SummaryWriter | None) -> None:
        score = self._measure(writer) if self.accelerator.is_main_process else math.nan
        if self._opponent is None:
            return
        score, best = self._agree((score, self.state.best_score))
        if not score <= DIVERGED * best:
            raise LacunaError(
                f"the run has diverged: at step {self.state.step} its score is {score:.3g}, while "
                f"its best was {best:.3g}; lower adversarial.weight or the learning rates and "
                f"start again in another folder. The best weights are in "
                f"'{self.folder / 'best.safetensors'}'"
            )

    def _measure(self, writer: SummaryWriter | None) -> float:
        """Validate and log; the score, whose best so far is exported."""
        model = self.ema.module.eval()
        with torch.inference_mode():
            values = self.task.validate(model)
            if writer is not None:
                self.task.preview(model, writer, self.state.step)
        self._log(writer, "valid", values)
        if values["score"] < self.state.best_score:
            self.state.best_score = values["score"]
            self._export("best.safetensors")
        return values["score"]

    def _export(self, name: str) -> None:
        path = self.folder / name
        provenance = {
            **self.provenance,
            "steps": self.state.step,
            "minutes": round(self.state.seconds / 60, 1),
            "audio_hours_seen": round(self._audio_hours(), 2),
        }
        with torch.inference_mode():
            self.task.export(self.ema.module.eval(), path, provenance)

    # -- checkpoints -----------------------------------------------------------------------

    def _checkpoints(self) -> list[Path]:
        return sorted((self.folder / "state").glob("step-*"))

    def _save(self) -> None:
        """Write the run's state beside the old one, then rename: a kill leaves one or the other."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        # Before the state: a run killed between the two repeats steps, and then exports again.
        self._export("model.safetensors")
        self.state.task = self.task.state()
        scaler = self.accelerator.scaler
        self.state.scaler = scaler.state_dict() if scaler is not None else {}
        tensors = {f"model.{k}": v for k, v in self.task.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        tensors |= {f"optimizer.{k}": v for k, v in optimizer_tensors(self.optimizer).items()}
        if self._opponent is not None:
            tensors |= {f"opponent.{k}": v for k, v in self._opponent.state_dict().items()}

        target = self.folder / "state" / f"step-{self.state.step:08d}"
        partial = target.with_name(f".partial-{target.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial / "tensors.safetensors")
        (partial / "state.json").write_text(json.dumps(asdict(self.state), indent=1))
        for file in partial.iterdir():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        for old in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def _restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Take up the newest checkpoint of the folder, if there is one."""
        found = self._checkpoints()
        if not found:
            return
        path = found[-1]
        try:
            tensors = load_file(path / "tensors.safetensors")
            self.state = RunState(**json.loads((path / "state.json").read_text()))
            self.task.model.load_state_dict(tensors_below(tensors, "model."))
            self.ema.load_state_dict(tensors_below(tensors, "ema."))
            load_optimizer(optimizer, tensors_below(tensors, "optimizer."))
            opponent = tensors_below(tensors, "opponent.")
            if self._opponent is not None and opponent:  # none if it comes into the run only now
                self._opponent.load_state_dict(opponent)
        except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"'{path}' cannot be taken up by this run: {error}\n"
                f"Use another --out folder for another config, or delete this checkpoint to go "
                f"back to the one before"
            ) from None
        self.task.load_state(self.state.task)

    # -- what a person sees ----------------------------------------------------------------

    def _open_logs(self) -> SummaryWriter | None:
        """TensorBoard and log.jsonl, without the lines that a restarted run will repeat."""
        if not self.accelerator.is_main_process:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "log.jsonl"
        if log.exists():
            lines = [
                line for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")
            ]
            kept = [line for line in lines if json.loads(line)["step"] <= self.state.step]
            with atomic_path(log, force=True) as partial:
                partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.state.step + 1)

    def _log(self, writer: SummaryWriter | None, kind: str, values: dict[str, float]) -> None:
        if writer is None:
            return
        for key, value in values.items():
            writer.add_scalar(f"{kind}/{key}", value, self.state.step)
        line = {"kind": kind, "step": self.state.step, **values}
        line["minutes"] = round(self.state.seconds / 60, 2)
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if kind == "valid" or not sys.stderr.isatty():
            text = "  ".join(f"{k} {v:.4g}" for k, v in values.items())
            print(f"step {self.state.step} {kind}: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def _progress(self) -> Iterator[Any]:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            disable=not (self.accelerator.is_main_process and sys.stderr.isatty()),
            transient=False,
        )
        with bar:
            job = bar.add_task("training", total=self.config.steps, completed=self.state.step)

            def show(step: int, logs: dict[str, float]) -> None:
                bar.update(job, completed=step)
                if logs:
                    shown = ("loss", "stft", "mel", "kbps")
                    text = " ".join(f"{k} {logs[k]:.3f}" for k in shown if k in logs)
                    bar.update(job, description=text)

            yield show


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser with names such as ``3.exp_avg``."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{k}": v for index, values in states.items() for k, v in values.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of :func:`optimizer_tensors`."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def tensors_below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, without it."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the run ends after the step with a checkpoint."""
    caught: list[int] = []
    old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    for number in old:
        signal.signal(number, lambda received, frame: caught.append(received))
    try:
        yield caught
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
