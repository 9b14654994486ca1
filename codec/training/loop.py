"""The training loop, shared by everything that is trained here.

A task (task.py) says what a step's loss is, how to validate and what to export; the loop does the
rest: Accelerate, gradient accumulation and clipping, learning rate, moving average, logs,
checkpoints, wall-clock budgets and restarts.

A run can be killed at any moment. Everything a step depends on is either in the last checkpoint
or a function of the step's number, so that a restarted run repeats the losses of an unbroken one.

Nothing waits: batches are loaded a step ahead, in a thread or in processes, and what a step
computes is read only where it is logged, every ``log_every`` steps, so that a GPU is never asked in
between.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from codec.errors import LacunaError
from codec.files import atomic_path
from codec.training import precision
from codec.training.ahead import computed_ahead, computed_in_processes
from codec.training.compiling import compile_blocks
from codec.training.config import LoopConfig
from codec.training.logs import RunLog, training_progress
from codec.training.optimiser import (
    BadSteps,
    adamw,
    load_optimizer,
    optimizer_tensors,
    skip_unless,
)
from codec.training.run_folder import (
    RunState,
    SavedStates,
    cannot_take_up,
    tensors_below,
    tensors_named,
)
from codec.training.schedule import Budget, learning_rate, stop_signals
from codec.training.task import Opponent, Task

MAX_BAD_STEPS = 50
"""Consecutive steps with a non-finite gradient after which a run stops."""

DIVERGED = 2.0
"""A run against an opponent stops when its score is so many times the best one."""


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
        loaders: int = 0,
    ) -> None:
        """``validate_first`` counts the initial weights among those that may be the best.

        So many processes as ``loaders`` load batches, for a task that can (``Task.load``).
        """
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
        self._saved = SavedStates(folder)
        self._opponent = opponent
        self._validate_first = validate_first
        self._loaders = loaders
        self._share = config.batch_size // shares
        self.stopped = False
        """The last call of ``train`` ended because of its budget or a signal."""
        self._exported: tuple[int, Path] | None = None
        """The step of the newest export, and its file."""
        self._closing = {"validation": 0.0, "checkpoint": 0.0}
        """How many seconds the last ones took: the end of a run takes as long."""

        device = accelerator.device
        task.model.to(device)
        self.ema = task.average()
        learning = config.optimizer
        self._adamw = adamw(
            task.model.parameters(),
            learning.learning_rate,
            learning.betas,
            learning.weight_decay,
        )
        self._restore()
        self._bad, self._opponent_bad = (
            BadSteps(count, MAX_BAD_STEPS, device)
            for count in (self.state.bad_steps, self.state.opponent_bad_steps)
        )
        self._precision = self._agree(
            precision.chosen(task, config, self.state, self._share, accelerator)
        )
        compiled = device.type == "cuda" if config.compile is None else config.compile
        if compiled:
            compile_blocks(task.model)
        self.model, self.optimizer = accelerator.prepare(task.model, self._adamw)
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
        main = self.accelerator.is_main_process
        log = RunLog(self.folder, state) if main else None
        validated = saved = first = state.step
        batches = self._batches()
        with (
            stop_signals() as stop,
            training_progress(config.steps, state.step, shown=main) as show,
        ):
            if self._validate_first and state.step == 0:
                self._validate(log)
            while self._progress_of_schedule() < 1.0:
                logs = self._step(batches)
                state.step += 1
                state.seconds = earlier + time.monotonic() - begin
                if state.step % config.log_every == 0:
                    logs["steps_per_second"] = (state.step - logged) / (state.seconds - logged_at)
                    logs["audio_hours"] = self._audio_hours()
                    logged, logged_at = state.step, state.seconds
                    if log is not None:
                        log.add("train", logs)
                show(state.step, logs)
                if state.step % config.validate_every == 0:
                    self._validate(log)
                    validated = state.step
                if state.step % config.checkpoint_every == 0:
                    self._save()
                    saved = state.step
                self.stopped = self._should_stop(stop, state.seconds - earlier)
                if self.stopped:
                    break
            if validated != state.step:
                self._validate(log)
            if saved != state.step:
                self._save()
            elif state.step == first and main:
                self._export("model.safetensors")  # a run may have been killed before it did
        batches.close()  # type: ignore[attr-defined]
        if log is not None:
            log.close()
        return state

    def _shares(self) -> Iterator[range]:
        """Items of this process for one forward pass after the other, from the next step on."""
        step, accelerator = self.state.step, self.accelerator
        while True:
            for part in range(self.config.accumulate):
                share = part * accelerator.num_processes + accelerator.process_index
                first = step * self.config.batch_size + share * self._share
                yield range(first, first + self._share)
            step += 1

    def _batches(self) -> Iterator[Any]:
        if self._loaders:
            processes = self._loaders
            return computed_in_processes(self.task.load, self._shares(), processes=processes)
        return computed_ahead(self.task.load, self._shares())

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
        late = minutes is not None and seconds + sum(self._closing.values()) >= 60 * minutes
        return bool(self._agree(bool(stop) or late))

    def _agree(self, value: Any) -> Any:
        """The main process' value, in every process: their clocks and signals differ."""
        if self.accelerator.num_processes == 1:
            return value
        return broadcast_object_list([value])[0]

    # -- a step ----------------------------------------------------------------------------

    def _step(self, batches: Iterator[Any]) -> dict[str, float]:
        config, accelerator = self.config, self.accelerator
        rate = learning_rate(config.optimizer, self.state.step, self._progress_of_schedule())
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self.task.model.train()
        totals: dict[str, Tensor | float] = {}
        norm = torch.zeros(())
        for _ in range(config.accumulate):
            batch = next(batches)
            with accelerator.accumulate(self.model):
                with accelerator.autocast(), self._autocast():
                    result = self.task.loss(self.model, batch, self.state.step)
                accelerator.backward(result.loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(
                        self.model.parameters(), config.optimizer.clip_norm
                    )
                    self._apply(norm)
            if self._opponent is not None and result.opponent is not None:
                self._opponent.backward(result.opponent / config.accumulate)
            for key, value in {"loss": result.loss.detach(), **result.logs}.items():
                totals[key] = totals.get(key, 0.0) + value / config.accumulate
        if self._opponent is not None:
            self._opponent_bad.observe(self._opponent.step(rate / config.optimizer.learning_rate))
        if (self.state.step + 1) % config.log_every:
            return {}
        self._check_bad_steps(self.state.step + 1)
        reduced = accelerator.reduce(
            {k: torch.as_tensor(v, device=accelerator.device) for k, v in totals.items()}, "mean"
        )
        means = {key: float(value) for key, value in reduced.items()}
        return {**means, "grad_norm": float(norm), "learning_rate": rate}

    def _autocast(self) -> torch.autocast:
        """bfloat16, if the run computes in it; float16 is Accelerate's business."""
        return precision.autocast(self.accelerator.device, self._precision)

    def _apply(self, norm: Tensor) -> None:
        """One optimiser step, unless the gradient is not finite: then skip it and count."""
        finite = torch.isfinite(norm)
        if self.accelerator.scaler is None:  # which skips the step by itself
            skip_unless(finite, self._adamw)
        self.optimizer.step()
        self.ema.update_parameters(self.task.model)
        self._bad.observe(finite)
        self.optimizer.zero_grad()

    def _check_bad_steps(self, step: int) -> None:
        """Raises LacunaError if too many gradients in a row, until ``step``, were not finite."""
        state, end = self.state, f"until step {step}"
        state.bad_steps = self._bad.check("the gradient", end, self.folder)
        opponent = self._opponent_bad.check("the discriminators' gradient", end, self.folder)
        state.opponent_bad_steps = opponent

    # -- validation, export, checkpoints ---------------------------------------------------

    def _validate(self, log: RunLog | None) -> None:
        begin = time.perf_counter()
        score = self._measure(log) if log is not None else math.nan
        self._closing["validation"] = time.perf_counter() - begin
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

    def _measure(self, log: RunLog) -> float:
        """Validate and log; the score, whose best so far is exported."""
        model = self.ema.module.eval()
        with torch.inference_mode():
            values = self.task.validate(model)
            self.task.preview(model, log.writer, self.state.step)
        log.add("valid", values)
        if values["score"] < self.state.best_score:
            self.state.best_score = values["score"]
            self._export("best.safetensors")
        return values["score"]

    def _export(self, name: str) -> None:
        """Write the checkpoint of this step, or copy it if there is one already."""
        path = self.folder / name
        if self._exported is not None and self._exported[0] == self.state.step:
            with atomic_path(path, force=True) as partial:
                shutil.copyfile(self._exported[1], partial)
            return
        provenance = {
            **self.provenance,
            "steps": self.state.step,
            "minutes": round(self.state.seconds / 60, 1),
            "audio_hours_seen": round(self._audio_hours(), 2),
        }
        with torch.inference_mode():
            self.task.export(self.ema.module.eval(), path, provenance)
        self._exported = (self.state.step, path)

    def _save(self) -> None:
        """Write the run's state and then its export: one that fails does not lose the run."""
        begin = time.perf_counter()
        self.accelerator.wait_for_everyone()
        self._check_bad_steps(self.state.step)
        if not self.accelerator.is_main_process:
            return
        self.state.task = self.task.state()
        scaler = self.accelerator.scaler
        self.state.scaler = scaler.state_dict() if scaler is not None else {}
        tensors = tensors_named("model.", self.task.model.state_dict())
        tensors |= tensors_named("ema.", self.ema.state_dict())
        tensors |= tensors_named("optimizer.", optimizer_tensors(self._adamw))
        if self._opponent is not None:
            tensors |= tensors_named("opponent.", self._opponent.state_dict())
        self._saved.save(self.state, tensors)
        self._export("model.safetensors")
        self._closing["checkpoint"] = time.perf_counter() - begin

    def _restore(self) -> None:
        """Take up the newest checkpoint of the folder, if there is one."""
        paths = self._saved.paths()
        if not paths:
            return
        self.state, tensors = self._saved.load(paths[-1])
        try:
            self.task.model.load_state_dict(tensors_below(tensors, "model."))
            self.ema.load_state_dict(tensors_below(tensors, "ema."))
            load_optimizer(self._adamw, tensors_below(tensors, "optimizer."))
            opponent = tensors_below(tensors, "opponent.")
            if self._opponent is not None and opponent:  # none if it comes into the run only now
                self._opponent.load_state_dict(opponent)
        except (ValueError, RuntimeError, KeyError) as error:
            raise cannot_take_up(paths[-1], error) from None
        self.task.load_state(self.state.task)
