"""How long a run trains, and how fast it learns on the way."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from codec.training.config import OptimizerConfig


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


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP, so that the run ends after the step with a checkpoint."""
    caught: list[int] = []
    old = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    hangup = getattr(signal, "SIGHUP", None)  # which Windows lacks, and nohup ignores
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        old[hangup] = signal.getsignal(hangup)
    for number in old:
        signal.signal(number, lambda received, frame: caught.append(received))
    try:
        yield caught
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
