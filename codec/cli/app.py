"""The Typer programs that commands are added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="lacuna",
    help="Lacuna: a neural audio codec. Compress audio, work with its latents, train your own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(help="Train a model on a folder of audio.", no_args_is_help=True)
app.add_typer(train_app, name="train")
