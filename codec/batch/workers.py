"""Many files in several processes, of which each may fail, or die, without stopping the rest."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from codec.api import Models
from codec.batch.folders import Job
from codec.batch.work import Outcome, Work, attempt

STOP_SECONDS = 10.0
"""How long a worker may take to remove what it was writing before it is killed."""

_FROM_TERMINALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)
]  # Windows has no SIGHUP


@dataclass
class _Worker:
    """A process, and the file it is at."""

    process: SpawnProcess
    job: Job


def run_in_workers(
    work: Work,
    jobs: Sequence[Job],
    workers: int,
    model: str | None,
    device: str,
    threads: int,
    report: Callable[[Outcome], None],
) -> None:
    """Do the files in ``workers`` processes, each with models of its own and ``threads`` threads.

    ``report`` is called in this process, in the order in which files are finished. The file of a
    process that dies has failed, and another process takes its place. An exception, Ctrl-C
    included, ends all processes, which remove the files they were writing.
    """
    waiting = deque(jobs)
    busy: dict[Connection, _Worker] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                connection, process = _start(work, model, device, threads)
                busy[connection] = _Worker(process, waiting.popleft())
                _hand(connection, busy[connection].job)
            ready = wait(list(busy))
            for connection in [c for c in busy if c in ready]:
                worker = busy[connection]
                try:
                    outcome = connection.recv()
                except (EOFError, OSError):
                    worker.process.join(STOP_SECONDS)
                    outcome = Outcome(worker.job, "failed", problems=[_how_it_ended(worker)])
                if waiting and worker.process.exitcode is None:
                    worker.job = waiting.popleft()
                    _hand(connection, worker.job)
                else:
                    del busy[connection]
                    connection.close()  # at which the process ends, if it has not
                report(outcome)
    finally:
        for worker in busy.values():
            worker.process.terminate()
        for worker in busy.values():
            worker.process.join(STOP_SECONDS)
            worker.process.kill()


def _start(
    work: Work, model: str | None, device: str, threads: int
) -> tuple[Connection, SpawnProcess]:
    # Not fork: torch's threads do not survive it, and other systems do not have it.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(
        target=_serve, args=(there, work, model, device, threads), daemon=True
    )
    # A terminal sends Ctrl-C to all processes, and SIGHUP when it closes. It is this one that ends
    # them, and a new process inherits that a signal is ignored, so that it does not die noisily
    # while it starts.
    previous = [signal.signal(number, signal.SIG_IGN) for number in _FROM_TERMINALS]
    try:
        process.start()
    finally:
        for number, handler in zip(_FROM_TERMINALS, previous, strict=True):
            signal.signal(number, handler)
    there.close()  # so that the pipe ends when the process does
    return here, process


def _hand(connection: Connection, job: Job) -> None:
    with suppress(OSError):  # it has died, which recv() tells, with the job
        connection.send(job)


def _how_it_ended(worker: _Worker) -> str:
    code = worker.process.exitcode
    if code is not None and code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with code {code}"
    return f"the process at work on it {how}; if memory ran out, use fewer --workers"


def _serve(
    connection: Connection, work: Work, model: str | None, device: str, threads: int
) -> None:
    """What a worker does: files that come through the pipe, until it ends."""
    for number in _FROM_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    # End through the exits of all `with` blocks, which remove partial files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    torch.set_num_threads(threads)
    models = Models(model, device)
    try:
        while True:
            connection.send(attempt(work, models, connection.recv()))
    except (EOFError, OSError):  # nothing left to do, or nobody left to tell
        return
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing left to remove
