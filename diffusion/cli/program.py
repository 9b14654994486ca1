"""The command ``lacuna`` with all that it can do: the codec's commands and the diffusion stage's.

Heavy imports happen inside the commands, so that --help is quick.
"""

from __future__ import annotations

from collections.abc import Callable

from cyclopts import App

from codec.cli import program
from codec.cli.program import LATENTS, MODELS
from codec.process import run
from diffusion.cli.demo import demo
from diffusion.cli.edit import extend, inpaint, vary
from diffusion.cli.generate import generate
from diffusion.cli.mix import blend, interpolate
from diffusion.cli.models import models
from diffusion.cli.studio import studio
from diffusion.cli.train import latents, train_adapter, train_diffusion

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    LATENTS: (generate, vary, inpaint, extend, interpolate, blend),
    MODELS: (latents, models, demo, studio),
}


def build_app() -> App:
    """The codec's program, with the diffusion stage's commands."""
    app = program.build_app()
    for name in ("models", "demo"):  # these two have more to tell and to show here
        del app[name]
    for group, commands in COMMANDS.items():
        for command in commands:
            app.command(command, group=group)
    app["train"].command(train_diffusion, name="diffusion")
    app["train"].command(train_adapter, name="adapter")
    return app


def main() -> None:
    """The command, which ends in SystemExit."""
    program.main(build_app)


def command() -> None:
    """Entry point of the console command: a process of its own."""
    run(main)


if __name__ == "__main__":
    main()
