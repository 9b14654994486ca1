"""The player in a real browser: switching without a gap, equal levels, the blind test."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browsing import Watched

from codec.player.html import Track, player, script, style
from codec.player.media import write_sound

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECONDS, RATE = 3.0, 44100
CAPTIONS = ["original", "<b>decoded</b> & 6 kbps", "opus"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a player of three sounds, the last of which is a bit shorter."""
    folder = tmp_path_factory.mktemp("player")
    time = np.arange(round(SECONDS * RATE)) / RATE
    original = (0.5 * np.sin(2 * np.pi * 440 * time))[None].astype(np.float32)
    sounds = [original, 0.5 * original, original[:, :-700]]
    tracks = []
    for number, (caption, sound) in enumerate(zip(CAPTIONS, sounds, strict=True)):
        write_sound(str(folder / f"sound-{number}"), ".flac", sound, original, RATE)
        tracks.append(Track(caption, f"sound-{number}", ".flac", [-6.02, 0, -6.02][number]))
    (folder / "page.html").write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><style>{style()}</style><body>'
        f"{player(tracks)}{player(tracks[:1])}<script>{script()}</script>",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    yield from opened(browser, f"{address}page.html", address)


def opened(browser: Browser, url: str, own: str) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(120_000)  # a busy machine may take so long
    watched = Watched(page, own)
    page.goto(url)
    yield page
    page.close()
    assert not watched.errors
    assert not watched.elsewhere


def state(page: Page) -> dict:
    return page.evaluate(
        """() => {
          const player = document.querySelector("lacuna-player");
          return {at: player.engine.position, duration: player.engine.duration,
                  running: player.running, gains: player.engine.gains,
                  levels: (player.engine.playing || []).map(track => track.level),
                  muted: player.elements.map(element => element.muted),
                  heard: player.figures.map(figure => figure.classList.contains("heard"))};
        }"""
    )


def play(page: Page) -> None:
    page.locator("lacuna-player").first.get_by_text("Play", exact=True).click()
    page.wait_for_function("document.querySelector('lacuna-player').running")
    page.wait_for_function("document.querySelector('lacuna-player').engine.position > 0.1")


def test_without_a_script_all_is_there(browser: Browser, address: str):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{address}page.html")
    assert page.locator("lacuna-player").first.locator("audio").count() == 3
    assert page.locator("figcaption").all_inner_texts() == [*CAPTIONS, CAPTIONS[0]]
    assert page.locator("audio").first.is_visible()
    page.context.close()


def test_a_switch_keeps_the_position_and_has_no_gap(page: Page):
    """With a ramp up and one down, in a context that renders faster than time passes."""
    result = page.evaluate(
        """async () => {
          const rate = 44100, length = rate, when = 0.5;
          const context = new OfflineAudioContext(1, length, rate);
          const ramps = [1, -1].map(sign => {
            const buffer = new AudioBuffer({length, sampleRate: rate});
            buffer.copyToChannel(Float32Array.from({length}, (_, i) => sign * i / length), 0);
            return buffer;
          });
          const engine = new Lacuna.Buffers(context, ramps, [1, 0.5]);
          engine.start(0, null, 0, 0);
          context.suspend(when).then(() => { engine.select(1, false); context.resume(); });
          return Array.from((await context.startRendering()).getChannelData(0));
        }"""
    )
    out, ramp = np.array(result), np.arange(44100) / 44100
    before, after = slice(0, 22000), slice(22700, 44000)
    np.testing.assert_allclose(out[before], ramp[before], atol=1e-5)
    np.testing.assert_allclose(out[after], -0.5 * ramp[after], atol=1e-5)
    weight = (out[22060:22480] / ramp[22060:22480] + 0.5) / 1.5
    assert np.all(np.diff(weight) < 1e-4)  # one fades as the other comes
    assert np.abs(np.diff(out)).max() < 0.01


def switch(page: Page, number: int) -> float:
    """Presses the button of a sound; how far the position moves by that, in seconds."""
    return page.locator("lacuna-player").first.evaluate(
        """(player, number) => {
          const before = player.engine.position;
          player.choices[number - 1].click();
          return Math.abs(player.engine.position - before);
        }""",
        number,
    )


def test_playing_switching_and_levels(page: Page):
    play(page)
    assert state(page)["heard"] == [True, False, False]
    assert switch(page, 2) < 0.05
    after = state(page)
    assert after["heard"] == [False, True, False]
    assert after["levels"] == [0, 1, 0]
    assert after["duration"] == pytest.approx(SECONDS, abs=1e-3)
    page.get_by_label("equally loud").uncheck()
    assert state(page)["gains"] == [1, 1, 1]
    page.get_by_label("equally loud").check()
    assert state(page)["gains"] == pytest.approx([0.5, 1, 0.5], abs=1e-3)


def test_one_player_at_a_time(page: Page):
    play(page)
    page.locator("lacuna-player").nth(1).get_by_text("Play", exact=True).click()
    page.wait_for_function("document.querySelectorAll('lacuna-player')[1].running")
    assert not state(page)["running"]


def test_a_part_is_marked_by_dragging_and_played_again_and_again(page: Page):
    play(page)
    page.evaluate("document.addEventListener('region', event => { window.told = event.detail; })")
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, middle, steps=4)
    page.mouse.up()
    assert page.evaluate("window.told") == pytest.approx([1.0, 1.5], abs=0.02)
    page.wait_for_timeout(700)
    assert 1.0 <= state(page)["at"] <= 1.5
    page.locator("lacuna-player").first.get_by_text("Pause", exact=True).click()
    page.mouse.click(box["x"] + 0.8 * box["width"], middle)
    assert page.evaluate("window.told") is None
    assert page.evaluate("document.querySelector('lacuna-player').at") == pytest.approx(
        2.4, abs=0.02
    )


def test_a_blind_test_of_ten_rounds(page: Page):
    first = page.locator("lacuna-player").first
    first.get_by_text("Blind test").click()
    first.get_by_text("Begin 10 rounds").click()
    page.wait_for_function("document.querySelector('lacuna-player').running")
    rounds = first.evaluate(
        """player => Array.from({length: 10}, (_, round) => {
          const button = text => [...player.querySelectorAll(".blind button")].find(
            candidate => candidate.textContent === text);
          const told = player.querySelector(".blind").textContent;
          const x = player.test.x, right = round !== 3;
          const heard = ["A", "B", "X"].map(name => {
            button(name).click();
            return player.engine.playing.findIndex(track => track.level > 0);
          });
          const shown = player.querySelectorAll(".heard, .transport [aria-pressed=true]").length;
          button(`X is ${"AB"[right ? x : 1 - x]}`).click();
          return {told, x, heard, shown};
        })"""
    )
    for number, played in enumerate(rounds):
        assert f"Round {number + 1} of 10" in played["told"]
        assert played["heard"] == [0, 1, played["x"]]
        assert played["shown"] == 0  # the page must not tell
    verdict = first.locator(".verdict").inner_text()
    assert "9 of 10 right. You hear the difference." in verdict
    assert "0.011" in verdict
    assert CAPTIONS[1] in verdict


def test_the_statistics(page: Page):
    told = page.evaluate("Array.from({length: 11}, (_, right) => Lacuna.chance(right, 10))")
    exact = [sum(math.comb(10, k) for k in range(right, 11)) / 2**10 for right in range(11)]
    assert told == pytest.approx(exact)
    counted = page.evaluate(
        """() => Array.from({length: 400}, () => {
          const test = new Lacuna.BlindTest();
          while (!test.over) test.answer(0);
          return test.right;
        })"""
    )
    assert np.mean(counted) == pytest.approx(5, abs=0.5)  # X is either as often
    assert (
        page.evaluate(
            """() => { const test = new Lacuna.BlindTest(); const before = test.verdict();
          while (!test.over) test.answer(1 - test.x); test.answer(test.x); return test.right; }"""
        )
        == 0
    )


def test_a_page_opened_as_a_file_plays_too(browser: Browser, folder: Path):
    """There no script may read the sounds, so the audio elements run side by side."""
    for page in opened(browser, (folder / "page.html").as_uri(), "file://"):
        play(page)
        assert state(page)["muted"] == [False, True, True]
        assert switch(page, 3) < 0.05
        assert state(page)["muted"] == [True, True, False]
        positions = page.evaluate(
            "document.querySelector('lacuna-player').elements.map(e => e.currentTime)"
        )
        assert np.ptp(positions) < 0.1
        anew = page.evaluate(  # as a switch in a blind test is
            """() => {
              const engine = document.querySelector("lacuna-player").engine;
              engine.select(1, true);
              return engine.position;
            }"""
        )
        assert anew < 0.05


def test_sounds_that_are_gone_are_told(page: Page, address: str):
    page.evaluate("document.querySelector('audio').src = 'gone.flac'")
    page.locator("lacuna-player").first.get_by_text("Play", exact=True).click()
    page.wait_for_function("document.querySelector('.told').textContent.includes('404')")
