"""What the panels do, without a page: results as HTML and files, and what goes wrong."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from generation_helpers import LABELS, save_both, tone

pytest.importorskip("gradio", reason="gradio is not installed")

from codec.errors import AudioError, ConfigError, LacunaError, RateError
from diffusion.generation import Sampling
from diffusion.studio import sources
from diffusion.studio.compressing import compress
from diffusion.studio.editing import Editor
from diffusion.studio.jobs import Stopped, Watch
from diffusion.studio.making import make
from diffusion.studio.models import StudioModels
from diffusion.studio.sources import Source
from diffusion.studio.store import Store

QUICK = Sampling(steps=1)


def unwatched(share: float, what: str) -> None:
    pass


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> StudioModels:
    model, codec = save_both(tmp_path_factory.mktemp("models"))
    return StudioModels(str(model), str(codec), "cpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "made").mkdir()
    return Store(tmp_path / "made")


def source(
    store: Store, seconds: float = 0.5, channels: int = 2, sample_rate: int = 16000, name: str = "a"
) -> Source:
    path = store.root.parent / f"{name}.wav"
    soundfile.write(path, tone(seconds, sample_rate, channels).T, sample_rate)
    return sources.take(store, "me", path, path.name)[0]


def files(html: str, store: Store) -> list[Path]:
    """What the page would load; all of it is there."""
    links = re.findall(r'(?:src|href)="/made/([0-9a-f]+)/([^"]+)"', html)
    found = [store.find(token, name) for token, name in links]
    assert all(found), html
    return [path for path in found if path]


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_compress_at_any_rate_and_channels(
    models: StudioModels, store: Store, channels: int, sample_rate: int
):
    one = source(store, 0.6, channels, sample_rate)
    html = compress(models.codecs, store, "me", one, 8.0 * channels, Watch(unwatched))
    decoded = next(path for path in files(html, store) if path.name == "decoded.wav")
    info = soundfile.info(decoded)
    expected = (channels, sample_rate, round(0.6 * sample_rate))
    assert (info.channels, info.samplerate, info.frames) == expected
    opus = html.count("<figure") - 2
    if shutil.which("opusenc"):  # which makes two channels of six where it has few bits
        assert opus + html.count("is left out: opus made 2 channels of 6") == 2
        assert opus == (1 if channels == 6 else 2)
    assert f"lacuna compress a.wav a.lac --kbps {8 * channels}" in html


def test_without_opus_it_is_named(
    models: StudioModels, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    html = compress(models.codecs, store, "me", source(store), 16.0, Watch(unwatched))
    assert html.count("<figure") == 2
    assert "opus is left out: the program opusenc and opusdec is not installed" in html


def test_the_shortest_and_the_quietest_sounds(models: StudioModels, store: Store):
    short = source(store, 0.01)
    assert "<figure" in compress(models.codecs, store, "me", short, 16.0, Watch(unwatched))
    path = store.root.parent / "silent.wav"
    soundfile.write(path, np.zeros((8000, 1)), 16000)
    silent, _ = sources.take(store, "me", path, path.name)
    html = compress(models.codecs, store, "me", silent, 8.0, Watch(unwatched))
    assert re.findall(r'data-gain="([^"]*)"', html)[0] == "0.00"


def test_the_decoded_sound_is_as_loud_as_the_original(models: StudioModels, store: Store):
    html = compress(models.codecs, store, "me", source(store, 1.0), 16.0, Watch(unwatched))
    gains = [float(gain) for gain in re.findall(r'data-gain="([^"]*)"', html)]
    assert max(gains) == 0
    assert min(gains) < 0


def test_make_counts_from_the_seed_and_knows_its_labels(models: StudioModels, store: Store):
    assert models.labels == LABELS
    sampling = Sampling("bell", 4, 1)
    html, made = make(models, store, "me", 0.3, 3, sampling, Watch(unwatched))
    assert [one.name for one in made] == ["bell-4.wav", "bell-5.wav", "bell-6.wav"]
    assert html.count("lacuna generate") == 3
    files(html, store)


@pytest.mark.parametrize(
    ("seconds", "count", "sampling", "message"),
    [
        (0, 1, QUICK, "0 seconds to make"),
        (3600, 1, QUICK, "3600 seconds to make"),
        (400, 1, QUICK, "at most 300 here"),
        (1, 9, QUICK, "a count of 9"),
        (1, 1, Sampling("dog"), "'dog'; expected one of: bell, piano, rain"),
    ],
)
def test_what_cannot_be_made(
    models: StudioModels, store: Store, seconds: float, count: int, sampling: Sampling, message: str
):
    with pytest.raises(LacunaError, match=message):
        make(models, store, "me", seconds, count, sampling, Watch(unwatched))
    assert not list(store.root.iterdir())


def test_edits_that_cannot_be(models: StudioModels, store: Store):
    editor = Editor(models, store, "me", Watch(unwatched))
    one, six = source(store), source(store, channels=6, name="six")
    with pytest.raises(LacunaError, match="from 0 s to 0 s"):
        editor.inpaint(one, QUICK, 0, 0, True)
    with pytest.raises(LacunaError, match="0 seconds to make"):
        editor.extend(one, QUICK, 0, True)
    with pytest.raises(ConfigError, match="strength 2"):
        editor.vary(one, QUICK, 2)
    with pytest.raises(AudioError, match="mix it down first"):
        editor.vary(six, QUICK, 0.5)
    with pytest.raises(LacunaError, match="2 and 6 channels cannot be mixed"):
        editor.interpolate(one, six, 5)


def test_mono_and_stereo_and_other_rates_can_be_interpolated(models: StudioModels, store: Store):
    editor = Editor(models, store, "me", Watch(unwatched))
    mono = source(store, 0.3, 1, 8000, "mono")
    html, between = editor.interpolate(mono, source(store), 5)
    assert (between.channels, between.sample_rate, between.seconds) == (2, 8000, 0.3)
    assert html.count("<figure") == 3


def test_a_rate_that_no_model_reaches(models: StudioModels, store: Store):
    with pytest.raises(RateError):
        compress(models.codecs, store, "me", source(store, 6.0), 0.01, Watch(unwatched))


@pytest.mark.parametrize("after", [1, 3])
def test_work_stops(models: StudioModels, store: Store, after: int):
    stop = threading.Event()
    calls: list[str] = []

    def count(share: float, what: str) -> None:
        calls.append(what)
        if len(calls) == after:
            stop.set()

    with pytest.raises(Stopped):
        make(models, store, "me", 3.0, 1, Sampling(steps=50), Watch(count, stop))
    assert len(calls) == after
    assert not list(store.root.iterdir())
