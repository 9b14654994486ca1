"""Where a visitor says which sound to work on: drop, record, or take one that is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from codec.player.html import player
from diffusion.studio.html import notes, wrong
from diffusion.studio.jobs import Jobs
from diffusion.studio.models import StudioModels
from diffusion.studio.sentences import sentence
from diffusion.studio.sources import EXAMPLES, RECORDING, Source, take
from diffusion.studio.store import Store

Shelf = dict[str, Source]
"""What a visitor has made, by name."""


@dataclass(frozen=True)
class Studio:
    """What all panels share."""

    models: StudioModels
    store: Store
    jobs: Jobs


def visitor(request: gr.Request) -> str:
    return request.session_hash or "nobody"


class SourcePicker:
    """Three ways to one sound, which ``chosen`` holds.

    Args:
        shelf: the state that holds a visitor's ``Shelf``.
        name: of its elements on the page, where it begins their ids.
    """

    def __init__(self, studio: Studio, shelf: gr.State, name: str, label: str) -> None:
        self._studio = studio
        self.chosen = gr.State(None)
        with gr.Row():
            dropped = gr.File(label=label, height=160, elem_id=f"{name}-drop")
            recorded = gr.Audio(
                sources=["microphone"],
                type="filepath",
                format="wav",
                label="or record",
                elem_id=f"{name}-record",
            )
            self.listed = gr.Dropdown(
                choices=list(EXAMPLES), value=None, label="or take", elem_id=f"{name}-take"
            )
        self.view = gr.HTML(elem_id=f"{name}-view")
        results = [self.chosen, self.view]
        how: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "reading"}
        dropped.upload(self._drop, dropped, results, **how)
        dropped.clear(lambda: (None, ""), None, results, **how)
        recorded.stop_recording(self._record, recorded, results, **how)
        self.listed.input(self._choose, [self.listed, shelf], results, **how)

    def _drop(self, path: str, request: gr.Request) -> tuple[Source | None, str]:
        return self._take(Path(path), Path(path).name, request)

    def _record(self, path: str | None, request: gr.Request) -> tuple[Source | None, str]:
        if path is None:
            return None, ""
        return self._take(Path(path), RECORDING, request)

    def _choose(self, name: str, shelf: Shelf, request: gr.Request) -> tuple[Source | None, str]:
        if name in EXAMPLES:
            return self._take(EXAMPLES[name], name, request)
        source = shelf.get(name)
        if source is None or not source.path.exists():
            return None, wrong(f"{name} is not here any more; make it again.")
        return source, player([source.track()], ready=True)

    def _take(self, path: Path, name: str, request: gr.Request) -> tuple[Source | None, str]:
        try:
            source, problems = take(self._studio.store, visitor(request), path, name)
        except Exception as error:
            return None, wrong(sentence(error))
        return source, player([source.track()], ready=True) + notes(problems)


def wanted(source: Source | None) -> Source:
    """Raises gr.Error where nothing was chosen."""
    if source is None:
        raise gr.Error("Drop a sound first, record one, or take one of the list.", title="")
    return source
