"""Other codecs to compare with: Opus, MP3 and AAC by their usual programs, where installed.

A peer gets the recording as a 32-bit float WAV at its own sample rate and in its own channels.
What comes back is resampled if the codec chose another rate, moved by the codec's delay, and cut
to the original's length.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from codec import audio
from codec.errors import AudioError, LacunaError

TIMEOUT_SECONDS = 600
MAX_DELAY_SECONDS = 0.1
"""Encoders and decoders of MP3 and AAC delay by about 0.05 s where they do not compensate it."""


@dataclass(frozen=True)
class RoundTrip:
    """A recording that was compressed to bytes and decompressed from them."""

    waveform: np.ndarray
    """(channels, time), at the original's sample rate and, but for some samples, as long."""
    bytes: int
    """Size of the whole file, container included."""
    compress_seconds: float
    decompress_seconds: float
    model: str = ""
    finest: bool = False
    """The codec has no finer setting for this recording: it could not use a higher rate."""


class Coder(Protocol):
    """A codec at one rate: (channels, time) and a sample rate in Hz -> ``RoundTrip``.

    Raises AudioError or RateError for a recording that it cannot code.
    """

    @property
    def codec(self) -> str: ...
    @property
    def kbps(self) -> float | None:
        """What is asked for; None of a control, which is no codec and has no rate."""

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip: ...


@dataclass(frozen=True)
class _Format:
    suffix: str
    kbps: tuple[float, ...]
    """Tried where no rate is asked for."""
    encode: str
    decode: str
    version: str


FORMATS = {
    "opus": _Format(
        ".opus",
        (8, 12, 16, 24),
        # Without 512 bytes of room for tags, which are 0.8 kbps of a clip of 5 s.
        "opusenc --quiet --padding 0 --bitrate {kbps:g} {source} {target}",
        "opusdec --quiet --float {source} {target}",
        "opusenc --version",
    ),
    "mp3": _Format(
        ".mp3",
        (48, 64),
        "lame --quiet --cbr -b {kbps:g} {source} {target}",
        "lame --quiet --decode {source} {target}",
        "lame --version",
    ),
    "aac": _Format(
        ".m4a",
        (48, 64),
        "ffmpeg -v error -nostdin -i {source} -c:a aac -b:a {kbps:g}k {target}",
        "ffmpeg -v error -nostdin -i {source} -c:a pcm_f32le {target}",
        "ffmpeg -version",
    ),
}


@dataclass(frozen=True)
class Peer:
    """One of FORMATS at one rate; a ``Coder``."""

    codec: str
    kbps: float

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        """See ``Coder``.

        Raises:
            AudioError: a program failed, took too long, or gave something else than was put in.
        """
        format = FORMATS[self.codec]
        with tempfile.TemporaryDirectory(prefix="lacuna-") as folder:
            source, coded, target = (
                Path(folder) / name for name in ("in.wav", f"coded{format.suffix}", "out.wav")
            )
            audio.write(source, waveform, sample_rate, "float")
            compress_seconds = _run(format.encode, kbps=self.kbps, source=source, target=coded)
            decompress_seconds = _run(format.decode, source=coded, target=target)
            size = coded.stat().st_size
            decoded, decoded_rate = audio.read(target)
        if len(decoded) != len(waveform):
            raise AudioError(
                f"{self.codec} made {len(decoded)} channels of {len(waveform)}; "
                f"convert the recording to mono or stereo"
            )
        decoded = audio.resample(decoded, decoded_rate, sample_rate)
        return RoundTrip(
            aligned(decoded, waveform, sample_rate), size, compress_seconds, decompress_seconds
        )


def parse_peers(text: str) -> list[Peer]:
    """Peers as the command line names them: "opus,mp3:48" is Opus at its usual rates, and MP3.

    Raises:
        LacunaError: an unknown codec, or something that is no rate.
    """
    peers: list[Peer] = []
    for part in text.split(","):
        codec, _, rate = part.strip().lower().partition(":")
        if codec not in FORMATS:
            raise LacunaError(
                f"--against '{part}': expected {', '.join(FORMATS)}, "
                f"each with a rate in kbps if wanted, as in opus:16"
            )
        try:
            rates = (float(rate),) if rate else FORMATS[codec].kbps
        except ValueError:
            rates = (0.0,)
        if not all(kbps >= 1 for kbps in rates):
            raise LacunaError(
                f"--against '{part}': expected a rate of 1 kbps or more, as in opus:16"
            )
        peers += [Peer(codec, kbps) for kbps in rates]
    return list(dict.fromkeys(peers))


def installed(peers: Sequence[Peer]) -> tuple[list[Peer], list[str]]:
    """The peers whose programs are there, and for each codec its version or what is missing."""
    notes: dict[str, str] = {}
    usable = []
    for peer in peers:
        format = FORMATS[peer.codec]
        programs = [command.split()[0] for command in (format.encode, format.decode)]
        missing = [name for name in dict.fromkeys(programs) if shutil.which(name) is None]
        if missing:
            notes[peer.codec] = (
                f"{peer.codec} is left out: the program {' and '.join(missing)} is not installed"
            )
        else:
            notes[peer.codec] = f"{peer.codec}: {_first_line(format.version)}"
            usable.append(peer)
    return usable, list(notes.values())


def _first_line(command: str) -> str:
    result = subprocess.run(
        command.split(), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    return (result.stdout.strip() or result.stderr.strip() or command).splitlines()[0]


def _run(command: str, **values: object) -> float:
    """Run a command and return its seconds; raises AudioError if it fails."""
    arguments = [part.format(**values) for part in command.split()]
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AudioError(
            f"{arguments[0]} did not end within {TIMEOUT_SECONDS} s; try a shorter recording"
        ) from None
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise AudioError(f"{arguments[0]} failed: {reason}; see if it takes this kind of audio")
    return time.perf_counter() - begin


def aligned(decoded: np.ndarray, original: np.ndarray, sample_rate: int) -> np.ndarray:
    """``decoded`` moved to where it correlates most with ``original``, and no longer than it.

    One lag for all channels, of up to MAX_DELAY_SECONDS either way; of several that fit equally
    well, as for silence, it is the least.

    Shape: (channels, any time) and (channels, time) -> (channels, time or less)
    """
    lag = _best_lag(decoded.mean(axis=0), original.mean(axis=0), sample_rate)
    moved = decoded[:, lag:] if lag > 0 else np.pad(decoded, ((0, 0), (-lag, 0)))
    return moved[:, : original.shape[1]]


def _best_lag(late: np.ndarray, early: np.ndarray, sample_rate: int) -> int:
    reach = min(round(MAX_DELAY_SECONDS * sample_rate), len(late) - 1)
    size = 1 << (len(late) + len(early)).bit_length()
    spectra = np.fft.rfft(late.astype(np.float64), size), np.fft.rfft(early, size)
    correlation = np.fft.irfft(spectra[0] * spectra[1].conj(), size)
    lags = sorted(range(-reach, reach + 1), key=abs)
    values = correlation[lags].round(9)  # silence must not be moved by rounding errors
    return lags[int(values.argmax())]
