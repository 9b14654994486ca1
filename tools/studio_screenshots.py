"""Takes the screenshots of docs/STUDIO.md, in Debian's chromium, of a studio that it starts.

pip install ".[studio]" playwright
python tools/studio_screenshots.py --out docs
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from codec.demo import CLIP

COLORS = 96
SLOW = 300_000
"""Milliseconds that making a sound may take."""


@contextmanager
def studio() -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-m", "diffusion", "studio", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address, "the studio did not start"
        yield address[0]
        process.terminate()


def shoot(page: Page, path: Path) -> None:
    """The page as a PNG with few colors."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


def compress(page: Page, out: Path) -> None:
    page.set_input_files("#compress-drop input[type=file]", CLIP)
    page.wait_for_selector("#compress-view canvas")
    page.click("#compress-run")
    result = page.locator("#compress-result lacuna-player")
    result.locator("canvas").wait_for()
    result.get_by_role("button", name="2", exact=True).click()
    page.locator("#compress-kbps").evaluate("element => element.scrollIntoView()")
    shoot(page, out / "studio_compress.png")
    result.get_by_text("Blind test").click()
    result.get_by_text("Begin 10 rounds").click()
    page.wait_for_timeout(3000)
    page.locator("#compress-result .facts").evaluate("element => element.scrollIntoView()")
    shoot(page, out / "studio_blind.png")
    result.get_by_text("Stop the test").click()


def make(page: Page, out: Path) -> None:
    page.get_by_role("tab", name="Make").click()
    page.get_by_label("label").first.click()
    page.get_by_role("option", name="piano").click()
    page.fill("#make-seconds input", "5")
    page.fill("#make-seed input", "3")
    page.click("#make-run")
    page.wait_for_selector("#make-result canvas")
    shoot(page, out / "studio_make.png")


def edit(page: Page, out: Path) -> None:
    page.set_viewport_size({"width": 1200, "height": 1350})
    page.get_by_role("tab", name="Edit").click()
    page.set_input_files("#edit-drop input[type=file]", CLIP)
    canvas = page.locator("#edit-view canvas")
    canvas.wait_for()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.45 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.62 * box["width"], middle, steps=5)
    page.mouse.up()
    page.click("#inpaint-run")
    page.wait_for_selector("#edit-result canvas")
    page.locator("#edit-view").evaluate("element => element.scrollIntoView()")
    shoot(page, out / "studio_edit.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    out = parser.parse_args().out
    program = shutil.which("chromium")
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with studio() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(SLOW)
        page.goto(address)
        page.wait_for_selector("#compress-run")
        for panel in (compress, make, edit):
            panel(page, out)
        browser.close()


if __name__ == "__main__":
    main()
