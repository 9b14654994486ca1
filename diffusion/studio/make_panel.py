"""The panel where new sounds are made."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffusion.studio.controls import buttons, drawn, sampling_controls
from diffusion.studio.jobs import Watch
from diffusion.studio.making import MOST, make
from diffusion.studio.picker import Shelf, Studio


def make_panel(studio: Studio, shelf: gr.State) -> None:
    """Build it."""
    with gr.Row():
        seconds = gr.Number(10, label="seconds", minimum=0, elem_id="make-seconds")
        count = gr.Slider(1, MOST, 1, step=1, label="how many", elem_id="make-count")
    sampling = sampling_controls(studio, "make")

    def work(
        who: str, watch: Watch, shelf: Shelf, seconds: float | None, count: float, *how: Any
    ) -> tuple[str, Shelf]:
        shown, sources = make(
            studio.models, studio.store, who, seconds or 0, int(count), drawn(*how), watch
        )
        return shown, shelf | {source.name: source for source in sources}

    shown = gr.HTML(elem_id="make-result", render=False)
    buttons(studio, "make", "Make", work, [shelf, seconds, count, *sampling], [shown, shelf])
    shown.render()
