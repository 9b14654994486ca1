"""The audio files that the generation commands read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from codec.api import Codec
from codec.audio import AudioReader, AudioWriter, limited
from codec.audio.pieces import CHUNK, Counted
from codec.batch.work import clipping
from codec.cli.options import AudioOutput, Compute, refuse_own_input, say
from codec.errors import LacunaError
from codec.model.sound import Sound, decode_stream, encode_stream
from codec.progress import audio_progress, file_progress
from diffusion.edit import Region, keep_original
from diffusion.model.samplers import Progress


def numbered(target: str, count: int, force: bool) -> list[str]:
    """The names of ``count`` files; what is in their way fails before anything is computed."""
    if count < 1:
        raise LacunaError(f"a count of {count}, expected 1 or more")
    if count > 1 and target == "-":
        raise LacunaError(f"{count} files cannot all be '-', standard output; name a file")
    path = Path(target)
    numbers = range(1, count + 1)
    names = [str(path.with_stem(f"{path.stem}-{n}")) for n in numbers] if count > 1 else [target]
    present = [name for name in names if name != "-" and Path(name).is_file()]
    if present and not force:
        raise LacunaError(f"{present[0]} already exists; use --force to replace it")
    return names


@contextmanager
def writing(
    path: str, sample_rate: int, channels: int, output: AudioOutput
) -> Iterator[Callable[[Iterable[np.ndarray]], None]]:
    """Yields a function that writes pieces (channels, any length) to an audio file.

    Tells what was written once the file is complete.
    """
    samples = 0
    with AudioWriter(path, sample_rate, channels, output.bits, force=output.force) as writer:

        def write(pieces: Iterable[np.ndarray]) -> None:
            nonlocal samples
            with audio_progress("decoding", None) as progress:
                for piece in pieces:
                    writer.write(piece)
                    samples += piece.shape[1]
                    progress(samples / sample_rate)

        yield write
    plural = "" if channels == 1 else "s"
    say(f"{path}: {samples / sample_rate:.2f} s, {sample_rate} Hz, {channels} channel{plural}")
    if writer.clipped:
        say(f"lacuna: warning: {clipping(writer.clipped)}")


def rendered(codec: Codec, sound: Sound, path: str) -> np.ndarray:
    """A new sound's waveform (channels, samples) for ``path``; tells if its peaks were limited."""
    with audio_progress("decoding", sound.seconds) as progress:
        counted = Counted(decode_stream(codec, sound))
        pieces = []
        for piece in counted:
            pieces.append(piece)
            progress(counted.samples / sound.sample_rate)
    waveform, decibels = limited(np.concatenate(pieces, axis=1), sound.sample_rate)
    if decibels:
        say(f"{path}: peaks were turned down to -1 dBFS, the loudest by {decibels:.1f} dB")
    return waveform


def edit_file(
    codec: Codec,
    source: str,
    target: str,
    verb: str,
    change: Callable[[Sound, Progress], tuple[Sound, list[Region]]],
    output: AudioOutput,
    keep: bool = False,
) -> None:
    """Read, change and write a file; ``change`` also says which regions it has made."""
    refuse_own_input(source, target)
    with AudioReader(source) as reader:
        info = reader.info
        with writing(target, info.sample_rate, info.channels, output) as write:
            sound = encoded(codec, reader, info.channels)
            with file_progress(verb) as bar:
                changed, regions = change(sound, partial(bar, ""))
            pieces = decode_stream(codec, changed)
            if keep:
                pieces = keep_original(reader.blocks(CHUNK), pieces, regions, info.sample_rate)
            write(pieces)


def load_sounds(
    codec: str, compute: Compute, sources: list[str], targets: list[str]
) -> tuple[Codec, list[Sound]]:
    """A codec and the latents of files; if one of them is stereo, mono ones become so."""
    for source in sources:
        for target in targets:
            refuse_own_input(source, target)
    model = compute.load(codec)
    with ExitStack() as stack:
        readers = [stack.enter_context(AudioReader(source)) for source in sources]
        channels = max(reader.info.channels for reader in readers)
        return model, [encoded(model, reader, channels) for reader in readers]


def encoded(codec: Codec, reader: AudioReader, channels: int) -> Sound:
    """The latents of a file, whose one channel is repeated if ``channels`` is more."""
    info = reader.info

    coded_channels = channels if info.channels == 1 else info.channels
    pieces = (
        piece.repeat(channels, axis=0) if len(piece) == 1 else piece
        for piece in reader.blocks(CHUNK)
    )
    with audio_progress("encoding", info.seconds) as progress:
        return encode_stream(codec, pieces, info.sample_rate, coded_channels, progress)
