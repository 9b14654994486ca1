"""The page: its panels, and what they share."""

from __future__ import annotations

import gradio as gr

from diffusion.studio.compress_panel import compress_panel
from diffusion.studio.edit_panel import EditPanel
from diffusion.studio.make_panel import make_panel
from diffusion.studio.picker import Shelf, Studio, visitor
from diffusion.studio.sources import EXAMPLES

TITLE = "Lacuna"
ABOUT = """
# Lacuna

Hear what a rate costs, make new sounds, change your own. All of it happens on this machine.
"""


def build(studio: Studio) -> gr.Blocks:
    """The page, whose sounds and work are those of ``studio``."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(ABOUT)
        shelf = gr.State({})
        pickers = []
        with gr.Tab("Compress"):
            pickers.append(compress_panel(studio, shelf))
        with gr.Tab("Make"):
            make_panel(studio, shelf)
        with gr.Tab("Edit"):
            pickers += EditPanel(studio, shelf).pickers
        lists = [picker.listed for picker in pickers]

        def offer(shelf: Shelf) -> dict[gr.Dropdown, gr.Dropdown]:
            return {listed: gr.Dropdown(choices=[*EXAMPLES, *shelf]) for listed in lists}

        shelf.change(offer, shelf, lists, api_visibility="private", show_progress="hidden")

        def leave(request: gr.Request) -> None:
            studio.jobs.stop(visitor(request))
            studio.store.forget(visitor(request))

        page.unload(leave)
    page.queue(api_open=False)
    return page
