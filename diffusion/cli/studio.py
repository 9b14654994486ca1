"""studio: a page in the browser to hear, compare and make sounds."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from codec.cli.extra import require
from codec.cli.options import Compute
from diffusion.cli.options import Models


def studio(
    *,
    port: Annotated[
        int | None,
        Parameter(help="0 is any that is free.", show_default="the first free one from 7860"),
    ] = None,
    no_browser: Annotated[bool, Parameter(help="Only print the page's address.")] = False,
    models: Models = Models(),
    compute: Compute = Compute(),
) -> None:
    """Open a page in the browser: hear what a rate costs, make new sounds, change your own.

    Example: lacuna studio

    It is served to this machine alone, needs no network, and sends nothing anywhere. What you drop
    there and what is made lies in a folder for temporary files until Ctrl-C ends it.
    """
    require("the studio", "studio", "gradio")
    compute.use()
    from diffusion.studio.server import serve

    serve(
        models.model,
        models.codec,
        compute.device,
        port,
        browser=not no_browser,
        adapter=models.adapter,
    )
