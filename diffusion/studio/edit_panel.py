"""The panel where sounds are changed: made anew in part, longer, otherwise, or between two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffusion.studio.controls import buttons, drawn, sampling_controls
from diffusion.studio.editing import STEPS_BETWEEN, Editor
from diffusion.studio.jobs import Watch
from diffusion.studio.picker import Shelf, SourcePicker, Studio, wanted
from diffusion.studio.sources import Source

Edited = tuple[str, Source]


class EditPanel:
    """Four edits of one sound, whose results show in one place and go to the shelf."""

    def __init__(self, studio: Studio, shelf: gr.State) -> None:
        self._studio = studio
        picker = SourcePicker(studio, shelf, "edit", "Drop the sound to change")
        sampling = sampling_controls(studio, "edit")
        shown = gr.HTML(elem_id="edit-result", render=False)
        outputs = [shown, shelf]
        drawing = [shelf, picker.chosen, *sampling]
        keep = "Keep the original's samples outside"
        with gr.Tab("Inpaint"):
            gr.Markdown("Drag over the waveform: that part is made anew, to fit what is around it.")
            with gr.Row():
                begin = gr.Number(0, label="from (s)", minimum=0, elem_id="inpaint-from")
                end = gr.Number(0, label="to (s)", minimum=0, elem_id="inpaint-to")
                kept = gr.Checkbox(True, label=keep, elem_id="inpaint-keep")
            controls = [*drawing, begin, end, kept]
            buttons(studio, "inpaint", "Inpaint", self._drawing(Editor.inpaint), controls, outputs)
        with gr.Tab("Extend"):
            with gr.Row():
                more = gr.Number(5, label="seconds more", minimum=0, elem_id="extend-seconds")
                kept = gr.Checkbox(True, label=keep, elem_id="extend-keep")
            buttons(
                studio,
                "extend",
                "Extend",
                self._drawing(Editor.extend),
                [*drawing, more, kept],
                outputs,
            )
        with gr.Tab("Vary"):
            label = "strength: 0 changes nothing, 1 forgets all but the length"
            strength = gr.Slider(0, 1, 0.5, step=0.05, label=label, elem_id="vary-strength")
            buttons(
                studio, "vary", "Vary", self._drawing(Editor.vary), [*drawing, strength], outputs
            )
        with gr.Tab("Interpolate"):
            other = SourcePicker(studio, shelf, "second", "Drop the sound to go to")
            label = f"how far, in steps of {STEPS_BETWEEN + 1}"
            middle = (STEPS_BETWEEN + 1) // 2
            step = gr.Slider(
                1, STEPS_BETWEEN, middle, step=1, label=label, elem_id="interpolate-step"
            )
            controls = [shelf, picker.chosen, other.chosen, step]

            def between(
                editor: Editor, first: Source | None, second: Source | None, step: float
            ) -> Edited:
                return editor.interpolate(wanted(first), wanted(second), int(step))

            buttons(studio, "interpolate", "Interpolate", self._work(between), controls, outputs)
        shown.render()
        self.pickers = [picker, other]

    def _drawing(self, do: Callable[..., Edited]) -> Callable[..., tuple[str, Shelf]]:
        """``do(editor, source, sampling, ...)`` as work that takes what all drawing edits do."""

        def change(
            editor: Editor,
            source: Source | None,
            label: str,
            seed: float | None,
            steps: float,
            guidance: float,
            *values: Any,
        ) -> Edited:
            numbers = [0 if value is None else value for value in values]  # a field left empty
            return do(editor, wanted(source), drawn(label, seed, steps, guidance), *numbers)

        return self._work(change)

    def _work(self, change: Callable[..., Edited]) -> Callable[..., tuple[str, Shelf]]:
        """``change(editor, ...)`` as work whose result goes to the shelf."""

        def work(who: str, watch: Watch, shelf: Shelf, *values: Any) -> tuple[str, Shelf]:
            editor = Editor(self._studio.models, self._studio.store, who, watch)
            shown, edited = change(editor, *values)
            return shown, {**shelf, edited.name: edited}

        return work
