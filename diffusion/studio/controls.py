"""What several panels have: how to draw from the diffusion model, and buttons to begin and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffusion.generation import DEFAULT_SAMPLING, Sampling
from diffusion.studio.jobs import QUEUE
from diffusion.studio.picker import Studio, visitor

NO_LABEL = "(any)"
PROGRESS = gr.Progress()


def sampling_controls(studio: Studio, name: str) -> list[gr.components.Component]:
    """What all draws from the diffusion model have in common; ``drawn`` reads it."""
    labels = [NO_LABEL, *studio.models.labels]
    steps = DEFAULT_SAMPLING.steps
    with gr.Row():
        return [
            gr.Dropdown(labels, value=NO_LABEL, label="label", elem_id=f"{name}-label"),
            gr.Number(0, precision=0, minimum=0, label="seed", elem_id=f"{name}-seed"),
            gr.Slider(1, 100, steps, step=1, label="steps", elem_id=f"{name}-steps"),
            gr.Slider(0, 10, 2, step=0.5, label="guidance", elem_id=f"{name}-guidance"),
        ]


def drawn(label: str, seed: float | None, steps: float, guidance: float) -> Sampling:
    chosen = None if label == NO_LABEL else label
    return Sampling(chosen, int(seed or 0), int(steps), float(guidance))


def buttons(
    studio: Studio,
    name: str,
    verb: str,
    work: Callable[..., Any],
    inputs: list[gr.components.Component],
    outputs: list[gr.components.Component],
) -> None:
    """What starts the work, and what ends it before its time.

    Args:
        work: is called with the visitor, a ``Watch`` and the values of ``inputs``; returns those
            of ``outputs``, the first of which shows the progress.
    """
    with gr.Row():
        start = gr.Button(verb, variant="primary", elem_id=f"{name}-run")
        stop = gr.Button("Stop", elem_id=f"{name}-stop")

    # Gradio finds the request by its type and the progress by its default.
    def run(request: gr.Request, progress: gr.Progress = PROGRESS, *values: Any) -> Any:
        who = visitor(request)
        with studio.jobs.job(who, progress) as watch:
            return work(who, watch, *values)

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

    stop.click(end, cancels=[event], concurrency_limit=None, api_visibility="private")
