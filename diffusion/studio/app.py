"""The whole application: Gradio's page, the files that were made, and the guard around both."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from starlette.types import ASGIApp

from codec.player import html as player
from diffusion.studio.guard import Guard
from diffusion.studio.html import STYLE
from diffusion.studio.page import build
from diffusion.studio.picker import Studio
from diffusion.studio.store import URL

SCRIPT = Path(__file__).parent / "page.js"
MAX_UPLOAD = 256 * 2**20
"""Bytes of a file."""
FONT, MONO = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
"""The visitor's own fonts: none is fetched."""


def build_app(studio: Studio) -> ASGIApp:
    """An ASGI app."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(URL + "/{token}/{name}")
    def made(token: str, name: str) -> FileResponse:
        path = studio.store.find(token, name)
        if path is None:
            raise HTTPException(404)
        return FileResponse(path)

    page = build(studio)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name="127.0.0.1",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=FONT, font_mono=MONO),
        css=player.style() + STYLE,
        head=f"<script>{player.script()}{SCRIPT.read_text(encoding='utf-8')}</script>",
    )
    # Before its launch Gradio takes any file of the machine for an upload, and mounting is none.
    page.has_launched = True
    return Guard(app)
