"""Mutation fuzzing of ``.lac`` files: what any file at all may do to a reader.

    python tools/fuzz_lac.py --count 100000 --seed 0
    python tools/fuzz_lac.py --replay 4711

The mutants are made by tools/lac_mutants.py. Every one goes through what the commands do with a
file: verify, info, trim, all blocks' symbols and latents, for some with the other coder too, and
for every 200th the network.
What is allowed is a result or a ``LacunaError``. Anything else, a warning of numpy's, more than 2 s
of processor time, more than 200 MB of extra memory, or a wrong symbol in a block that the mutation
left alone, is a failure, and its seed makes the same mutant again. docs/FUZZING.md has the last
recorded run. Linux only: the limits are the kernel's, so that they also hold inside compiled code.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter
from cyclopts.validators import Number
from lac_mutants import KINDS, NETWORK_EVERY, Mutant, make_mutant
from lac_samples import codec_of, network_samples, small_samples
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from codec.entropy.coder import SymbolCoder
from codec.errors import LacunaError
from codec.lac.decompress import coder_for
from codec.lac.header import LAYER_HOP, LacHeader
from codec.lac.info import block_rates, file_facts, rate_lines
from codec.lac.rate import RateTarget
from codec.lac.reader import Block, LacReader, verify
from codec.lac.trim import trim

CPU_SECONDS = 2.0
EXTRA_MEMORY = 200 * 1000**2
WALL_SECONDS = 60.0
"""Without using the processor: only a deadlock takes so long."""

OTHER_CODER_EVERY = 8

# Decoding more than is asked for is work, not a hang: 150 bytes may truly stand for an hour of
# 255 silent channels. So the symbols and samples that one mutant is asked for are limited.
MAX_SYMBOLS = 1 << 20
MAX_CONTEXT_BLOCK = 1 << 14
"""Larger blocks go to the static tables: the context model takes about 10 us for a symbol."""
MAX_SAMPLES = 1 << 18
MAX_NETWORK_CHANNELS = 8

OUTCOMES = ("whole", "damaged", "undecodable", "refused")
FAILURES = ("crash", "wrong", "hang", "memory")


class WrongResultError(Exception):
    """A reader said something about a mutant that is not so."""


# --- what is done with a mutant ---------------------------------------------------------------


def examine(mutant: Mutant) -> str:
    """Use a mutant as the commands would; returns the outcome.

    Raises:
        WrongResultError: what was read is not what the file says.
    """
    kind = KINDS[mutant.kind]
    data = mutant.data
    try:
        reader = LacReader(data)
    except LacunaError:
        if kind.local and mutant.header_holds and kind.honest:
            raise WrongResultError("refused, though the header is intact") from None
        return "refused"
    if kind.honest and not mutant.header_holds:
        raise WrongResultError("a damaged header was accepted")
    codec = codec_of(reader.header)
    _check_facts(reader, data)
    rng = random.Random(mutant.seed)
    large = reader.header.block_values > MAX_CONTEXT_BLOCK
    if rng.randrange(OTHER_CODER_EVERY) == 0 and not large:
        other = codec.tables if reader.header.context_coded else codec.context
        assert other is not None
        with contextlib.suppress(LacunaError):
            _decode(reader, other)
    outcome = "whole" if reader.intact else "damaged"
    coder = codec.tables if large else coder_for(codec, reader.header)
    decoded: dict[int, Block | None] = {}
    try:
        decoded = dict(enumerate(_decode(reader, coder)))
    except LacunaError:
        if kind.honest:
            raise WrongResultError("a block passed its CRC and cannot be decoded") from None
        outcome = "undecodable"
    if kind.local and mutant.header_holds:
        _check_untouched(mutant, reader, coder, decoded)
    if kind.honest:
        for number, block in decoded.items():
            if block is not None and not (
                number < len(mutant.sample.blocks)
                and _same(block, mutant.sample.blocks[number], number in reader.damaged_layers)
            ):
                raise WrongResultError(f"block {number} is not what was written")
    if mutant.kind == "damage_layer" and (reader.damaged or len(reader.damaged_layers) > 1):
        raise WrongResultError("a damaged layer cost more than itself")
    if reader.header.layered and reader.intact:
        with contextlib.suppress(LacunaError):
            _trim(reader, rng.choice([0.1, 1, 4, 16]))
    if mutant.seed % NETWORK_EVERY == 0:
        try:
            _decompress(reader, data, rng)
        except LacunaError:
            outcome = "undecodable"
    return outcome


def _check_facts(reader: LacReader, data: bytes) -> None:
    """What ``info`` and ``verify`` print is consistent and no more than the file can hold."""
    report = verify(data)
    header = reader.header
    sizes = reader.block_bytes
    facts = (header.block_values, header.mask_bytes, header.block_overhead, header.max_payload)
    if not (
        (report.blocks, report.damaged) == (reader.block_count, reader.damaged)
        and (report.complete, report.samples) == (reader.complete, reader.samples)
        and report.header == header
        and len(sizes) == reader.block_count <= 2 * (len(data) // header.block_overhead) + 1
        and sum(size or 0 for size in sizes) <= len(data)
        and [number for number, size in enumerate(sizes) if size is None] == reader.damaged
        and 0 <= reader.frames <= reader.block_count * header.frames_per_block
        and min(facts) >= 1
    ):
        raise WrongResultError("what is said about the file does not agree")
    rates = block_rates(reader)
    json.dumps([file_facts(reader, len(data)), rates], allow_nan=False)
    rate_lines(rates, unicode=True)
    again, _ = LacHeader.parse(header.to_bytes())
    if again != header:
        raise WrongResultError("the header is another one after it was written and read")


def _decode(reader: LacReader, coder: SymbolCoder) -> Iterator[Block | None]:
    """The blocks' symbols and latents, up to ``MAX_SYMBOLS`` of them."""
    symbols = 0
    for block in reader.blocks(coder):
        if block is not None:
            if not (np.isfinite(block.latents).all() and not block.symbols[block.silent].any()):
                raise WrongResultError("latents that are not finite, or silence that is not")
            symbols += block.symbols.size
            symbols += block.layer.symbols.size if block.layer is not None else 0
        yield block
        if symbols > MAX_SYMBOLS:
            return


def _check_untouched(
    mutant: Mutant, reader: LacReader, coder: SymbolCoder, decoded: dict[int, Block | None]
) -> None:
    for number in mutant.untouched():
        # A block that was forged may have kept the others from being decoded with it.
        block = decoded.get(number) or next(reader.blocks(coder, number, number + 1), None)
        if block is None or not _same(block, mutant.sample.blocks[number]):
            raise WrongResultError(f"block {number} is intact, but was lost or changed")


def _same(found: Block, written: Block, layer_lost: bool = False) -> bool:
    same = all(
        np.array_equal(getattr(found, name), getattr(written, name))
        for name in ("symbols", "latents", "silent")
    )
    if not same or layer_lost or written.layer is None:
        return same and found.layer is None
    a, b = found.layer, written.layer
    return (
        a is not None
        and a.step_index == b.step_index
        and np.array_equal(a.split, b.split)
        and np.array_equal(a.symbols, b.symbols)
    )


def _trim(reader: LacReader, kbps: float) -> None:
    """Where that is no great work, and what is written can be read."""
    if reader.frames * reader.header.coded_channels * LAYER_HOP > MAX_SYMBOLS:
        return
    output = io.BytesIO()
    report = trim(reader, output, RateTarget(kbps))
    if report.bytes != len(output.getvalue()) or not verify(output.getvalue()).ok:
        raise WrongResultError("the trimmed file is not whole")


def _decompress(reader: LacReader, data: bytes, rng: random.Random) -> None:
    """All of the sound, or where the file claims to hold much a short piece of it."""
    header = reader.header
    if header.coded_channels > MAX_NETWORK_CHANNELS:
        return
    seconds = reader.frames * header.hop_length / header.model_sample_rate
    rate = max(header.sample_rate, header.model_sample_rate)
    start, duration = 0.0, None
    if seconds * rate * header.channels > MAX_SAMPLES or rng.random() < 0.3:
        start, duration = seconds * rng.random(), MAX_SAMPLES / rate / header.channels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of damage
        waveform, _ = codec_of(header).decompress(data, start, duration)
    if waveform.shape[0] != header.channels or not torch.isfinite(waveform).all():
        raise WrongResultError(f"decompressed to {tuple(waveform.shape)}, or not to numbers")
    # A file may have up to a hop more than its frames hold: resamplers round lengths either way.
    hop = header.hop_length * header.sample_rate // header.model_sample_rate + 1
    if duration is None and reader.samples is not None:
        missing = reader.samples - waveform.shape[1]
        if not 0 <= missing <= hop:
            raise WrongResultError(f"{waveform.shape[1]} samples, the file says {reader.samples}")


# --- the run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """How a mutant was read."""

    seed: int
    outcome: str
    detail: str = ""
    """What a failure left: the traceback, or how the process died."""
    seconds: float = 0.0
    """Processor time."""
    peak: int = 0
    """Bytes of memory above the start, where this mutant took more than any before it; else 0."""


def _work(seeds: list[int], results: Connection, cpu_seconds: float, parent: int) -> None:
    """Examine mutants in a process of their own, as long as its parent lives."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    np.seterr(over="raise", divide="raise", invalid="raise")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = most = _peak()
    for seed in seeds:
        if os.getppid() != parent:
            return
        mutant = make_mutant(seed)
        began = time.process_time()
        # Its signal ends the process wherever it is, in compiled code too.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        outcome, detail = "", ""
        try:
            outcome = examine(mutant)
        except MemoryError:
            outcome, detail = "memory", traceback.format_exc()
        except WrongResultError as error:
            outcome, detail = "wrong", str(error)
        except Exception:
            outcome, detail = "crash", traceback.format_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds, peak = time.process_time() - began, _peak()
        rise = peak - before if peak > most else 0
        most = max(most, peak)
        results.send(Result(seed, outcome, detail, seconds, rise))


@cache
def _warm_up() -> None:
    """Fill all caches, in the process that is forked: what they hold is no extra memory."""
    for seed, samples in ((1, small_samples()), (0, network_samples())):
        for sample in samples:
            assert examine(Mutant(seed, "flip", sample, sample.data)) == "whole"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(seeds: list[int], workers: int = 1, cpu_seconds: float = CPU_SECONDS) -> Iterator[Result]:
    """Examine the mutants of ``seeds``; a process that dies is a failure and is replaced."""
    _warm_up()
    context = multiprocessing.get_context("fork")  # torch is not imported again each time
    pending: dict[Connection, tuple[list[int], multiprocessing.process.BaseProcess]] = {}

    def start(todo: list[int]) -> None:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(todo, sender, cpu_seconds, os.getpid()), daemon=True
        )
        process.start()
        sender.close()
        pending[receiver] = (todo, process)

    for first in range(workers):
        if seeds[first::workers]:
            start(seeds[first::workers])
    while pending:
        ready = wait(list(pending), WALL_SECONDS)
        for connection in ready or list(pending):
            assert isinstance(connection, Connection)
            todo, process = pending.pop(connection)
            try:
                if not ready:
                    process.kill()
                result = connection.recv()
            except EOFError:
                process.join()
                outcome = "crash" if ready and process.exitcode != -signal.SIGPROF else "hang"
                result = Result(todo[0], outcome, f"the process ended with {process.exitcode}")
                if todo[1:]:
                    start(todo[1:])
            else:
                if todo[1:]:
                    pending[connection] = (todo[1:], process)
                else:
                    process.join()
            yield result


def summary(results: list[Result]) -> Table:
    """Mutants by kind and outcome, with the slowest and the largest of each kind."""
    table = Table(box=box.MARKDOWN)
    columns = (*OUTCOMES, *FAILURES)
    for name in ("kind", "mutants", *columns, "slowest (s)", "memory (MB)"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    by_kind: dict[str, list[Result]] = {name: [] for name in KINDS}
    for result in results:
        by_kind[make_mutant(result.seed).kind].append(result)
    for name, rows in (*by_kind.items(), ("all", results)):
        counts = Counter(row.outcome for row in rows)
        slowest = max((row.seconds for row in rows), default=0.0)
        largest = max((row.peak for row in rows), default=0)
        cells = [len(rows), *(counts[column] for column in columns)]
        table.add_row(name, *map(str, cells), f"{slowest:.2f}", f"{largest / 1e6:.0f}")
    return table


def main(
    *,
    count: Annotated[int, Parameter(validator=Number(gte=1), help="Mutants.")] = 100_000,
    seed: Annotated[
        int, Parameter(validator=Number(gte=0), help="Runs of two seeds share no mutant.")
    ] = 0,
    workers: Annotated[int, Parameter(validator=Number(gte=1), help="Processes.")] = 1,
    replay: Annotated[
        int | None, Parameter(validator=Number(gte=0), help="Make one mutant again.")
    ] = None,
    out: Annotated[Path, Parameter(help="Folder for files that fail.")] = Path("fuzz_failures"),
) -> None:
    """Fuzz the reader of .lac files; exits with 1 if a mutant fails."""
    console = Console()
    seeds = list(range(seed * 10**9, seed * 10**9 + count)) if replay is None else [replay]
    results = []
    for result in track(run(seeds, workers), "fuzzing", len(seeds), console=Console(stderr=True)):
        results.append(result)
        if result.outcome in FAILURES or replay is not None:
            mutant = make_mutant(result.seed)
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{result.seed}.lac"
            path.write_bytes(mutant.data)
            console.print(
                f"{result.outcome}: {path} ({mutant.kind} of {mutant.sample.name}), "
                f"{result.seconds:.2f} s; --replay {result.seed}\n{result.detail}",
                markup=False,
            )
    if replay is None:
        Console(width=160).print(summary(results))
        slowest = max(results, key=lambda result: result.seconds)
        largest = max(results, key=lambda result: result.peak)
        console.print(
            f"slowest: seed {slowest.seed}, {slowest.seconds:.2f} s of processor time; most "
            f"memory: seed {largest.seed}, {largest.peak / 1e6:.0f} MB above the start"
        )
    sys.exit(int(any(result.outcome in FAILURES for result in results)))


if __name__ == "__main__":
    cyclopts.run(main)
