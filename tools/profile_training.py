"""Where the time of a training step goes: data, network, loss, discriminators, optimiser.

    python tools/profile_training.py small --data music/ --threads 2
    python tools/profile_training.py small --data music/ --decoder-only run/best.safetensors

Prints milliseconds of a step by the clock on the wall and of CPU, each the fastest of ``--steps``
for every part, in float32 and in bfloat16. On a machine with other work, CPU time on one thread is
the one to compare.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import torch
from cyclopts import Parameter
from cyclopts.validators import Number
from torch import Tensor, nn

from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.training.codec_task import CodecTask
from codec.training.config import TrainingConfig, load_training_config
from codec.training.data import open_source, split_files
from codec.training.decoder_task import DecoderTask, checkpoint_to_train_on
from codec.training.optimiser import adamw
from codec.training.precision import autocast
from codec.training.task import Average

PARTS = ("data", "network", "loss", "discriminators", "optimiser")
WARM_UP = 2


class Stopwatch:
    """Time per part of a step, by two clocks: (wall, CPU), in seconds."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spent = {part: [0.0, 0.0] for part in PARTS}
        self._last = self._now()

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()

    def charge(self, part: str) -> None:
        """What has passed since the last call went into ``part``."""
        now = self._now()
        for clock in range(2):
            self.spent[part][clock] += now[clock] - self._last[clock]
        self._last = now


@contextmanager
def watched(model: nn.Module, watch: Stopwatch) -> Iterator[None]:
    """What ``model`` does forwards and backwards is charged to "network", what is around to "loss".

    The gradient of the loss has arrived when the largest of the model's outputs has got its own.
    """

    def before(module: nn.Module, inputs: Any) -> None:
        watch.charge("loss")

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        watch.charge("network")
        tensors = [tensor for tensor in _tensors(output) if tensor.requires_grad]
        if tensors:
            max(tensors, key=Tensor.numel).register_hook(lambda gradient: watch.charge("loss"))

    handles = [model.register_forward_pre_hook(before), model.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: Any) -> Iterator[Tensor]:
    """Those in an output, which may be a dataclass of dataclasses."""
    if isinstance(output, Tensor):
        yield output
    elif is_dataclass(output):
        for field in fields(output):
            yield from _tensors(getattr(output, field.name))


@dataclass(frozen=True)
class Step:
    """What a step needs, as the loop has it."""

    task: CodecTask | DecoderTask
    config: TrainingConfig
    optimizer: torch.optim.Optimizer
    average: Average

    @classmethod
    def of(cls, task: CodecTask | DecoderTask, config: TrainingConfig) -> Step:
        task.model.to(task.device)
        learning = config.optimizer
        optimizer = adamw(task.model.parameters(), learning.learning_rate, learning.betas)
        return cls(task, config, optimizer, task.average())


def one_step(step: Step, number: int, precision: str, watch: Stopwatch) -> None:
    """As the loop does it, one thing after the other."""
    task, config = step.task, step.config
    opponent = task.reconstruction_loss.opponent
    watch.charge("optimiser")
    batch = task.load(range(number * config.batch_size, (number + 1) * config.batch_size))
    watch.charge("data")
    with autocast(watch.device, precision):
        result = task.loss(task.model, batch, config.adversarial.start_step + number)
    watch.charge("loss")
    result.loss.backward()
    watch.charge("network")
    if opponent is not None and result.opponent is not None:
        opponent.backward(result.opponent)
        opponent.step(1.0)
        watch.charge("discriminators")
    torch.nn.utils.clip_grad_norm_(task.model.parameters(), config.optimizer.clip_norm)
    step.optimizer.step()
    step.optimizer.zero_grad()
    step.average.update_parameters(task.model)
    watch.charge("optimiser")


def profile(step: Step, precision: str, steps: int) -> dict[str, list[float]]:
    """Part -> (wall, CPU) seconds: the fastest of ``steps`` steps."""
    taken: dict[str, list[list[float]]] = {part: [] for part in PARTS}
    for number in range(WARM_UP + steps):
        watch = Stopwatch(step.task.device)
        with watched(step.task.model, watch):
            one_step(step, number, precision, watch)
        for part in PARTS:
            taken[part].append(watch.spent[part])
    return {
        part: [min(values[clock] for values in all_steps[WARM_UP:]) for clock in range(2)]
        for part, all_steps in taken.items()
    }


def main(
    config: Annotated[str, Parameter(help="A name in configs/, or a .toml file.")],
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder of audio.")],
    threads: Annotated[int, Parameter(validator=Number(gte=1))] = 2,
    steps: Annotated[int, Parameter(validator=Number(gte=1), help="Steps that are measured.")] = 10,
    device: Annotated[str, Parameter(help="cpu or cuda.")] = "cpu",
    decoder_only: Annotated[
        str | None, Parameter(help="Profile the second phase, from this checkpoint.")
    ] = None,
    settings: Annotated[
        list[str] | None, Parameter(name="--set", help="As `lacuna train`.")
    ] = None,
) -> None:
    """Profile a step of training, in float32 and in bfloat16."""
    torch.set_num_threads(threads)
    model = load_model_config(config, settings or ())
    training = load_training_config(config, settings or ())
    where = torch.device(device)
    paths, _ = split_files(data, data)
    source = open_source(paths, model, training.data, seed=0, device=where)
    torch.manual_seed(0)
    task: CodecTask | DecoderTask
    if decoder_only is None:
        task = CodecTask(Autoencoder(model), training, source, source, where)
    else:
        start = checkpoint_to_train_on(model, decoder_only)
        task = DecoderTask(start, training, source, source, where)
    step = Step.of(task, training)
    print(f"{model.name}, {training.batch_size} items, {device}, {threads} threads; ms wall / CPU")
    print(f"{'':16}{'float32':>24}{'bfloat16':>24}")
    results = [profile(step, precision, steps) for precision in ("no", "bf16")]
    totals = [[sum(r[part][clock] for part in PARTS) for clock in range(2)] for r in results]
    for part in PARTS:
        cells = (
            f"{1000 * r[part][0]:.0f} / {1000 * r[part][1]:.0f}"
            f" {100 * r[part][1] / max(total[1], 1e-9):4.0f} %"
            for r, total in zip(results, totals, strict=True)
        )
        print(f"{part:16}" + "".join(f"{cell:>24}" for cell in cells))
    cells = (f"{1000 * wall:.0f} / {1000 * cpu:.0f}  100 %" for wall, cpu in totals)
    print(f"{'step':16}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    cyclopts.run(main)
