"""The panel where a visitor hears what a rate costs."""

from __future__ import annotations

import gradio as gr

from diffusion.studio.compressing import compress
from diffusion.studio.controls import buttons
from diffusion.studio.jobs import Watch
from diffusion.studio.picker import SourcePicker, Studio, wanted
from diffusion.studio.sources import Source


def compress_panel(studio: Studio, shelf: gr.State) -> SourcePicker:
    """Build it; returns where its sound is chosen."""
    picker = SourcePicker(studio, shelf, "compress", "Drop an audio file")
    kbps = gr.Slider(1, 48, 6, step=0.5, label="kbps of the whole file", elem_id="compress-kbps")

    def work(who: str, watch: Watch, source: Source | None, kbps: float) -> str:
        return compress(studio.models.codecs, studio.store, who, wanted(source), kbps, watch)

    shown = gr.HTML(elem_id="compress-result", render=False)
    buttons(studio, "compress", "Compress", work, [picker.chosen, kbps], [shown])
    shown.render()
    return picker
