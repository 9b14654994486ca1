"""What the training loop asks of what it trains: a :class:`Task`, and perhaps its opponent.

To train something new, write a class with these methods and hand it to ``Trainer`` (loop.py):

- ``load(indices)`` makes the batch of these items, on the task's device. It is called in a thread,
  a step or two ahead, so it must be a function of the indices alone (``AudioSource.batch`` and
  ``item_rng`` are), and must not touch the model. A task whose batches take longer to make than a
  GPU takes to learn from them leaves them on the CPU, and is given processes that load them.
- ``loss(model, batch, step)`` gives a :class:`StepLoss`. It must not read a tensor's value
  (``float()``, ``.item()``, ``if tensor:``), for which a GPU would have to be waited for: values to
  log stay tensors, and the loop reads them every ``log_every`` steps. It runs in the precision of
  the run; what needs float32 switches autocast off, as losses.py does.
- ``validate(model)`` gives values to log, among them ``score``, lower is better, which decides
  which weights are the best.
- ``preview(model, writer, step)`` adds sounds and pictures to TensorBoard.
- ``export(model, path, provenance)`` writes the checkpoint that users load, in at most 3 s.
- ``state()`` and ``load_state()`` carry what a restarted run needs beside weights, such as a
  controlled weight.

``model`` is the bare module that is trained, ``average()`` a moving average of it. ``loss`` gets
the model as Accelerate wraps it; ``validate``, ``preview`` and ``export`` get the average's module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

Logs = dict[str, Tensor | float]
"""Values to log; tensors are scalars and are read when they are logged."""


@dataclass(frozen=True)
class StepLoss:
    """What a forward pass gives."""

    loss: Tensor
    """The model's loss, averaged over the items."""
    logs: Logs = field(default_factory=dict)
    opponent: Tensor | None = None
    """The opponent's own loss on what the model made, if it takes part in this step."""


class Average(Protocol):
    """A moving average of weights; ``torch.optim.swa_utils.AveragedModel`` is one."""

    @property
    def module(self) -> nn.Module:
        """What is validated and exported."""
        ...

    def update_parameters(self, model: nn.Module) -> None: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> Any: ...


class Task(Protocol):
    """What is trained: see the top of this file."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def item_seconds(self) -> float:
        """How much audio an item is."""
        ...

    def average(self) -> Average:
        """A new moving average of ``model``, on its device."""
        ...

    def load(self, indices: range) -> Any: ...

    def loss(self, model: nn.Module, batch: Any, step: int) -> StepLoss: ...

    def validate(self, model: nn.Module) -> dict[str, float]: ...

    def preview(self, model: nn.Module, writer: SummaryWriter, step: int) -> None: ...

    def export(self, model: nn.Module, path: Path, provenance: dict[str, Any]) -> None: ...

    def state(self) -> dict[str, float]: ...

    def load_state(self, state: dict[str, float]) -> None: ...


class Opponent(Protocol):
    """What the task's model is trained against, such as the discriminators of an adversarial loss.

    It is trained beside the model, on ``StepLoss.opponent``, and has an optimiser of its own.
    """

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to that of its weights."""
        ...

    def step(self, rate: float) -> Tensor:
        """Take an optimiser step, at ``rate`` times its peak learning rate.

        Processes must agree on the gradient. One that is not finite is dropped, and then the
        result, a bool on the device, is False.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and optimiser."""
        ...

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> Any: ...
