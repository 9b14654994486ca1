"""The studio as a visitor meets it: every panel, in a real browser, with tiny models."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile
import torch
from browsing import Watched
from generation_helpers import save_both, tone

from diffusion.cli.program import build_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("gradio", reason="gradio is not installed")

SLOW = 180_000
"""Milliseconds: a busy machine may take so long."""
OPENED = 1000
"""Milliseconds from a tab's opening until Gradio keeps what is typed there: less than a person
takes, and more than a program does."""
SETTLED = 300
"""Milliseconds until the page has told its server of a value that was typed."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The options that name them."""
    model, codec = save_both(tmp_path_factory.mktemp("models"))
    return ("--model", str(model), "--codec", str(codec))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the studio was started, with files that it must not give away."""
    folder = tmp_path_factory.mktemp("work")
    for name, seed in (("song.wav", 0), ("other.wav", 1)):
        soundfile.write(folder / name, tone(1.0, 16000, 2, seed).T, 16000)
    (folder / "text.wav").write_text("no sound at all")
    return folder


@pytest.fixture(scope="module")
def address(browser: Browser, models: tuple[str, ...], work: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "diffusion", "studio", "--port", "0", "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    log = work.parent / "errors.txt"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*command, "--threads", "1", *models],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as studio,
    ):
        assert studio.stdout is not None
        line = studio.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        yield found[0]
        browser.new_page().goto(found[0])
        before = log.stat().st_size
        studio.terminate()
        studio.wait(120)
        assert log.read_bytes()[before:] == b""  # a page is open, and it ends without a word


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(SLOW)
    watched = Watched(page, address)
    page.goto(address)
    page.wait_for_selector("#compress-run")
    yield page
    page.close()
    assert not watched.errors
    assert not watched.elsewhere  # all of it comes from this machine


def drop(page: Page, panel: str, path: Path) -> None:
    """Drops a file where the panel says so."""
    data = base64.b64encode(path.read_bytes()).decode()
    transfer = page.evaluate_handle(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), character => character.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        [data, path.name],
    )
    page.dispatch_event(f"#{panel}-drop button", "drop", {"dataTransfer": transfer})
    page.wait_for_selector(f"#{panel}-view :is(lacuna-player canvas, .wrong)")


def saved(page: Page, name: str, folder: Path) -> Path:
    """The file behind the link that saves it."""
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Save {name}").last.click()
    assert download.value.suggested_filename == name
    download.value.save_as(folder / name)
    return folder / name


def run_shown_command(page: Page, panel: str, models: tuple[str, ...], folder: Path) -> None:
    """Types what the page says makes the same, with the tiny models."""
    threads = torch.get_num_threads()
    for line in page.locator(f"#{panel}-result .command code").last.inner_text().splitlines():
        program, *words = shlex.split(line)
        assert program == "lacuna"
        options: tuple[str, ...] = models
        if words[0] in ("compress", "decompress"):
            options = ("--model", models[3])
        elif words[0] == "interpolate":
            options = models[2:]
        with contextlib.chdir(folder):
            build_app()([*words, "--threads", "1", *options])
    torch.set_num_threads(threads)


def plays(page: Page, panel: str) -> None:
    """The last sound of the panel's result is heard, and time goes on."""
    player = page.locator(f"#{panel}-result lacuna-player").last
    player.get_by_text("Play", exact=True).click()
    handle = player.element_handle()
    page.wait_for_function("player => player.running && player.engine.position > 0.05", arg=handle)
    loud = player.evaluate(
        """player => player.engine.buffers.every(
             buffer => buffer.getChannelData(0).some(sample => Math.abs(sample) > 0.001))"""
    )
    assert loud


def test_compress(page: Page, work: Path, models: tuple[str, ...], tmp_path: Path):
    drop(page, "compress", work / "song.wav")
    fill(page, "#compress-kbps input[type=number]", "8")
    page.click("#compress-run")
    page.wait_for_selector("#compress-result lacuna-player canvas")
    facts = page.locator("#compress-result .facts").inner_text()
    assert "times smaller" in facts
    assert "mel distance" in facts
    assert page.locator("#compress-result figure").count() >= 2
    pictures = page.locator("#compress-result img")
    for number in range(pictures.count()):
        assert pictures.nth(number).evaluate("img => img.decode().then(() => img.naturalWidth)") > 1
    plays(page, "compress")
    theirs, other = tmp_path / "saved", tmp_path / "typed"
    theirs.mkdir()
    other.mkdir()
    for name in ("song.lac", "song_decoded.wav"):
        saved(page, name, theirs)
    (other / "song.wav").write_bytes((work / "song.wav").read_bytes())
    run_shown_command(page, "compress", models, other)
    for name in ("song.lac", "song_decoded.wav"):
        assert (theirs / name).read_bytes() == (other / name).read_bytes()


def test_make(page: Page, models: tuple[str, ...], tmp_path: Path):
    page.get_by_role("tab", name="Make").click()
    fill(page, "#make-seconds input", "0.5")
    fill(page, "#make-seed input", "5")
    fill(page, "#make-count input[type=number]", "2")
    fill(page, "#make-steps input[type=number]", "2")
    page.click("#make-run")
    page.wait_for_selector("#make-result lacuna-player canvas")
    captions = page.locator("#make-result figcaption").all_inner_texts()
    assert [caption.split(",")[0] for caption in captions] == ["seed 5", "seed 6"]
    plays(page, "make")
    mine = saved(page, "sound-6.wav", tmp_path).read_bytes()
    (tmp_path / "typed").mkdir()
    run_shown_command(page, "make", models, tmp_path / "typed")
    assert (tmp_path / "typed" / "sound-6.wav").read_bytes() == mine


def fill(page: Page, selector: str, value: str) -> None:
    """Types a number and leaves the field: the page takes it only then."""
    page.fill(selector, value)
    page.press(selector, "Tab")
    page.wait_for_timeout(SETTLED)


def edit(page: Page, work: Path, kind: str) -> None:
    """Opens the panel's tab, with a sound."""
    page.get_by_role("tab", name="Edit").click()
    drop(page, "edit", work / "song.wav")
    fill(page, "#edit-steps input[type=number]", "2")
    page.get_by_role("tab", name=kind).click()
    page.wait_for_timeout(OPENED)


def edited(page: Page, kind: str, models: tuple[str, ...], work: Path, tmp_path: Path) -> Path:
    """Begins the edit; what it gives plays, and is what the command line shown beside it makes."""
    page.click(f"#{kind}-run")
    page.wait_for_selector("#edit-result lacuna-player canvas")
    plays(page, "edit")
    line = page.locator("#edit-result .command code").inner_text()
    name = page.locator("#edit-result figure a").nth(1).get_attribute("download")
    assert name is not None
    mine = saved(page, name, tmp_path)
    typed = tmp_path / "typed"
    typed.mkdir()
    for source in ("song.wav", "other.wav"):
        (typed / source).write_bytes((work / source).read_bytes())
    run_shown_command(page, "edit", models, typed)
    assert (typed / name).read_bytes() == mine.read_bytes(), line
    return mine


def test_inpaint_a_marked_part(page: Page, work: Path, models: tuple[str, ...], tmp_path: Path):
    edit(page, work, "Inpaint")
    box = page.locator("#edit-view canvas").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.4 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], middle, steps=3)
    page.mouse.up()
    begin, end = (float(page.input_value(f"#inpaint-{side} input")) for side in ("from", "to"))
    assert (begin, end) == pytest.approx((0.4, 0.6), abs=0.01)
    mine = edited(page, "inpaint", models, work, tmp_path)
    was, _ = soundfile.read(work / "song.wav")
    now, _ = soundfile.read(mine)
    changed = (was != now).any(axis=1).nonzero()[0] / 16000
    assert begin - 0.03 < changed.min() < changed.max() < end + 0.03


def test_extend(page: Page, work: Path, models: tuple[str, ...], tmp_path: Path):
    edit(page, work, "Extend")
    fill(page, "#extend-seconds input", "0.5")
    mine = edited(page, "extend", models, work, tmp_path)
    assert soundfile.info(mine).duration == 1.5


def test_vary_and_go_on_with_the_result(
    page: Page, work: Path, models: tuple[str, ...], tmp_path: Path
):
    edit(page, work, "Vary")
    fill(page, "#edit-seed input", "7")
    page.get_by_label("label").last.click()
    page.get_by_role("option", name="bell").click()
    edited(page, "vary", models, work, tmp_path)
    assert "--label bell --seed 7" in page.locator("#edit-result .command").inner_text()
    page.get_by_role("tab", name="Compress").click()
    page.get_by_label("or take").first.click()
    page.get_by_role("option", name="song_vary-7.wav").click()
    page.wait_for_selector("#compress-view lacuna-player canvas")
    assert "song_vary-7.wav: 1.00 s" in page.locator("#compress-view figcaption").inner_text()


def test_interpolate(page: Page, work: Path, models: tuple[str, ...], tmp_path: Path):
    edit(page, work, "Interpolate")
    drop(page, "second", work / "other.wav")
    fill(page, "#interpolate-step input[type=number]", "3")
    mine = edited(page, "interpolate", models, work, tmp_path)
    assert mine.name == "song_other-3.wav"


def test_mistakes_are_sentences(page: Page, work: Path):
    page.click("#compress-run")
    page.get_by_text("Drop a sound first").wait_for()
    drop(page, "compress", work / "text.wav")
    wrong = page.locator("#compress-view .wrong").inner_text()
    assert wrong.startswith("text.wav is not audio, or of a format that is not supported")
    page.get_by_role("tab", name="Make").click()
    fill(page, "#make-seconds input", "0")
    page.click("#make-run")
    page.get_by_text("0 seconds to make, expected more than 0").wait_for()


def test_a_recording(page: Page, address: str):
    page.context.grant_permissions(["microphone"], origin=address)
    recorder = page.locator("#compress-record")
    recorder.get_by_role("button", name="Record").click()
    page.wait_for_timeout(700)
    recorder.get_by_role("button", name="Stop").first.click()
    page.wait_for_selector("#compress-view lacuna-player canvas")
    caption = page.locator("#compress-view figcaption").inner_text()
    assert re.match(r"recording\.wav: \d+\.\d\d s, \d+ Hz, mono", caption)


def begin_long_work(page: Page) -> None:
    page.get_by_role("tab", name="Make").click()
    fill(page, "#make-seconds input", "250")
    fill(page, "#make-steps input[type=number]", "100")
    page.click("#make-run")


def test_two_visitors_wait_for_each_other_and_work_ends_when_stopped(
    browser: Browser, page: Page, address: str
):
    begin_long_work(page)
    first = page.locator("#make-result")
    first.get_by_text("making 1 of 1").wait_for()
    other = browser.new_page()
    other.set_default_timeout(SLOW)
    other.goto(address)
    begin_long_work(other)
    second = other.locator("#make-result")
    second.get_by_text("queue: 1/1").wait_for()
    page.click("#make-stop")
    page.get_by_text("Stopped.").wait_for()
    second.get_by_text("making 1 of 1").wait_for()
    other.click("#make-stop")
    other.get_by_text("Stopped.").wait_for()
    other.close()
    fill(page, "#make-seconds input", "0.3")
    page.click("#make-run")
    page.wait_for_selector("#make-result lacuna-player canvas")


def test_what_was_dropped_goes_with_its_visitor(browser: Browser, address: str, work: Path):
    page = browser.new_page()
    page.goto(address)
    drop(page, "compress", work / "song.wav")
    source = page.locator("#compress-view audio").get_attribute("src")
    assert status(f"{address}{source}") == 200
    page.close()
    deadline = time.monotonic() + 30
    while status(f"{address}{source}") == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert status(f"{address}{source}") == 404


def test_no_file_of_the_machine_is_served(page: Page, address: str, work: Path):
    drop(page, "compress", work / "song.wav")
    source = page.locator("#compress-view audio").get_attribute("src")
    assert source is not None
    folder, _, name = source.rpartition("/")
    assert status(f"{address}{source}") == 200
    secret = work / "other.wav"
    files = ["/etc/passwd", str(secret), "other.wav", str(work / "song.wav")]
    paths = [f"/gradio_api/file={file}" for file in files]
    paths += [f"/gradio_api/file={work}/../../../../../../etc/passwd", "/gradio_api/file=.."]
    paths += [
        f"{folder}/../../../{name}",
        f"{folder}/..%2f..%2fetc%2fpasswd",
        f"{folder}/",
        "/made/",
    ]
    paths += ["/static/../../../etc/passwd", "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"]
    paths += ["/gradio_api/file=http://127.0.0.1/", "/gradio_api/proxy=http://127.0.0.1/"]
    assert {path: status(address + path) for path in paths if status(address + path) == 200} == {}
    answer = page.evaluate(
        """async path => {  // an upload that was none
          const config = window.gradio_config;
          const index = config.dependencies.findIndex(
            d => d.targets.some(target => target[1] === "upload"));
          const data = [{path, meta: {_type: "gradio.FileData"}}];
          const asked = await fetch("/gradio_api/queue/join?", {method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({data, fn_index: config.dependencies[index].id,
                                  session_hash: "mallory"})});
          if (!asked.ok) return `refused ${asked.status}`;
          const told = await fetch("/gradio_api/queue/data?session_hash=mallory");
          return await told.text();
        }""",
        str(secret),
    )
    assert "lacuna-player" not in answer
    assert "it was not uploaded by a user" in answer


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
