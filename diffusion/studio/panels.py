"""The panels of the page: what a visitor sets, and what is done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffusion.generation import Sampling
from diffusion.studio.compressing import compress
from diffusion.studio.jobs import QUEUE
from diffusion.studio.making import MOST, make
from diffusion.studio.picker import Shelf, SourcePicker, Studio, visitor, wanted
from diffusion.studio.sources import Source

NO_LABEL = "(any)"


def compress_panel(studio: Studio, shelf: gr.State) -> SourcePicker:
    """Hear what a rate costs."""
    picker = SourcePicker(studio, shelf, "compress", "Drop an audio file")
    kbps = gr.Slider(1, 48, 6, step=0.5, label="kbps of the whole file", elem_id="compress-kbps")

    def run(
        source: Source | None,
        kbps: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio finds it here
    ) -> str:
        source = wanted(source)
        who = visitor(request)
        with studio.jobs.job(who, progress) as watch:
            return compress(studio.models.codecs, studio.store, who, source, kbps, watch)

    shown = gr.HTML(elem_id="compress-result", render=False)
    _buttons(studio, "compress", "Compress", run, [picker.chosen, kbps], [shown])
    shown.render()
    return picker


def make_panel(studio: Studio, shelf: gr.State) -> None:
    """New sounds."""
    with gr.Row():
        seconds = gr.Number(10, label="seconds", minimum=0, elem_id="make-seconds")
        count = gr.Slider(1, MOST, 1, step=1, label="how many", elem_id="make-count")
    sampling = _sampling(studio, "make")

    def run(
        shelf: Shelf,
        seconds: float,
        count: int,
        label: str,
        seed: float | None,
        steps: float,
        guidance: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, Shelf]:
        with studio.jobs.job(visitor(request), progress) as watch:
            drawn = _drawn(label, seed, steps, guidance)
            shown, made = make(
                studio.models, studio.store, visitor(request), seconds, int(count), drawn, watch
            )
        return shown, shelf | {source.name: source for source in made}

    shown = gr.HTML(elem_id="make-result", render=False)
    _buttons(studio, "make", "Make", run, [shelf, seconds, count, *sampling], [shown, shelf])
    shown.render()


def _sampling(studio: Studio, name: str) -> list[gr.components.Component]:
    """What all draws from the diffusion model have in common; ``_drawn`` reads it."""
    labels = [NO_LABEL, *studio.models.labels]
    with gr.Row():
        return [
            gr.Dropdown(labels, value=NO_LABEL, label="label", elem_id=f"{name}-label"),
            gr.Number(0, precision=0, minimum=0, label="seed", elem_id=f"{name}-seed"),
            gr.Slider(1, 100, 8, step=1, label="steps", elem_id=f"{name}-steps"),
            gr.Slider(0, 10, 2, step=0.5, label="guidance", elem_id=f"{name}-guidance"),
        ]


def _drawn(label: str, seed: float | None, steps: float, guidance: float) -> Sampling:
    known = None if label == NO_LABEL else label
    return Sampling(known, int(seed or 0), int(steps), float(guidance))


def _buttons(
    studio: Studio,
    name: str,
    verb: str,
    run: Callable[..., Any],
    inputs: list[gr.components.Component],
    outputs: list[gr.components.Component],
) -> None:
    """What starts the work, and what ends it before its time."""
    with gr.Row():
        start = gr.Button(verb, variant="primary", elem_id=f"{name}-run")
        stop = gr.Button("Stop", elem_id=f"{name}-stop")
    event = start.click(
        run,
        inputs,
        outputs,
        concurrency_id=QUEUE,
        concurrency_limit=1,
        api_visibility="private",
        show_progress_on=outputs[0],
    )

    def end(request: gr.Request) -> None:
        studio.jobs.stop(visitor(request))
        gr.Info("Stopped.", title="")

    stop.click(end, None, None, queue=False, cancels=[event], api_visibility="private")
