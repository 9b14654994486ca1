"""Audio between a file and the network: one name for the modules that read, write and resample.

>>> from codec import audio
>>> waveform, sample_rate = audio.read("in.flac")        # float32 (channels, time)
>>> audio.write("out.wav", audio.resample(waveform, sample_rate, 44_100), 44_100)
"""

from __future__ import annotations

from codec.audio.peak import limited
from codec.audio.reading import AudioInfo, AudioReader, probe, read
from codec.audio.resampling import resample
from codec.audio.waveform import from_mid_side, to_mid_side
from codec.audio.writing import AudioWriter, write

__all__ = [
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "from_mid_side",
    "limited",
    "probe",
    "read",
    "resample",
    "to_mid_side",
    "write",
]
