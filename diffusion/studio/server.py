"""The page's server, on this machine alone."""

from __future__ import annotations

import errno
import logging
import os
import socket
import tempfile
import threading
import webbrowser
from pathlib import Path

from codec.errors import LacunaError

HOST = "127.0.0.1"
FIRST_PORT, PORTS = 7860, 20
"""Without --port the first of these that is free."""


def bind(port: int | None) -> socket.socket:
    """A socket on this machine's port, or on the first free one; 0 is any.

    Raises:
        LacunaError: it is in use, or no port.
    """
    if port is not None and not 0 <= port < 2**16:
        raise LacunaError(f"--port {port}, expected 0 (any that is free) to 65535")
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for number in ports:
        server = socket.socket()
        if os.name == "posix":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, number))
            server.listen()  # only now it shows whether another one listens
        except OSError as error:
            server.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise LacunaError(
                f"cannot listen on port {number}: {error.strerror}; give another with --port"
            ) from None
        return server
    where = f"port {port} is" if port is not None else f"ports {ports[0]} to {ports[-1]} are"
    raise LacunaError(f"{where} in use; give another with --port, or any that is free: --port 0")


def serve(
    model: str,
    codec: str | None,
    device: str,
    port: int | None,
    browser: bool,
    adapter: str | None = None,
) -> None:
    """Show the page until Ctrl-C.

    Raises:
        LacunaError: the port is in use.
        CheckpointError: a model that is missing or damaged.
    """
    server = bind(port)
    with tempfile.TemporaryDirectory(prefix="lacuna-studio-", ignore_cleanup_errors=True) as work:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(work) / "uploads")
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_OFFLINE"] = "1"
        with server:
            _run(server, Path(work), model, codec, device, browser, adapter)


def _run(
    server: socket.socket,
    work: Path,
    model: str,
    codec: str | None,
    device: str,
    browser: bool,
    adapter: str | None,
) -> None:
    import uvicorn

    from diffusion.studio.app import build_app
    from diffusion.studio.jobs import Jobs
    from diffusion.studio.models import StudioModels
    from diffusion.studio.picker import Studio
    from diffusion.studio.store import Store

    results = work / "made"
    results.mkdir()
    studio = Studio(StudioModels(model, codec, device, adapter), Store(results), Jobs())
    config = uvicorn.Config(build_app(studio), log_level="warning", timeout_graceful_shutdown=1)
    url = f"http://{HOST}:{server.getsockname()[1]}"
    print(f"Lacuna's studio: {url}   Ctrl-C ends it.", flush=True)
    if browser:
        threading.Timer(1, webbrowser.open, [url]).start()
    server_app = uvicorn.Server(config)
    # Pages that are open at the end are cut off, which is no error.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server_app.should_exit)
    try:
        server_app.run(sockets=[server])
    finally:
        studio.jobs.stop_all()
