"""The command ``lacuna``. Heavy imports happen inside the commands, so that --help is quick."""

from __future__ import annotations

import difflib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from codec.cli.bring import calibrate, convert
from codec.cli.demo import demo
from codec.cli.evaluate import evaluate
from codec.cli.export import export
from codec.cli.files import compress, decompress
from codec.cli.inspect import info, trim, verify
from codec.cli.latents import decode, encode
from codec.cli.look import map_, score
from codec.cli.models import models
from codec.cli.options import say
from codec.cli.train import train_codec, train_context
from codec.errors import LacunaError
from codec.process import end_unread, end_with, prepare

FILES, LATENTS, MODELS = "Files", "Latents and sound", "Models"
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    FILES: (compress, decompress, info, verify, trim),
    LATENTS: (encode, decode, score, map_),
    MODELS: (models, convert, calibrate, export, evaluate, demo),
}
"""In the groups that --help shows."""


def build_app() -> App:
    """A program with the codec's commands, to which others can be added."""
    app = App(
        name="lacuna",
        help="Lacuna: a neural audio codec. Compress audio, work with its latents, train your own.",
        version=_version,
        help_flags=("--help", "-h"),
        help_format="markdown",
        default_parameter=Parameter(negative=(), show_default=_shown_default),
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    for group, commands in COMMANDS.items():
        for command in commands:
            app.command(command, group=group)
    train = App(name="train", help="Train a model on a folder of audio.", group=MODELS)
    train.command(train_codec, name="codec")
    train.command(train_context, name="context")
    app.command(train)
    return app


def main(build: Callable[[], App] = build_app) -> None:
    """Entry point: a user's mistake is one line on standard error and an exit code."""
    prepare()
    try:
        with _shown_warnings():
            code = build()(sys.argv[1:])
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk is reported here, and not by the interpreter's end
            sys.exit(code)
    except CycloptsError as error:
        _fail(_wrong_usage(error), 2)
    except LacunaError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        end_unread()
    except OSError as error:
        name = f"'{error.filename}': " if error.filename else ""
        _fail(f"{name}{error.strerror or error}", 1)


def _fail(message: str, code: int) -> None:
    say(f"lacuna: error: {message}")
    end_with(code)


def _wrong_usage(error: CycloptsError) -> str:
    """What is wrong with the command line, and where help is."""
    command = " ".join(["lacuna", *(error.command_chain or ())])
    text = str(error)
    if isinstance(error, UnusedCliTokensError):
        text = f"More than {command} takes: {' '.join(error.unused_tokens or ())}."
    text = _unknown_option(error) or text
    return f"{text} See {command} --help"


def _unknown_option(error: CycloptsError) -> str | None:
    """The first option that the command does not have: most likely the mistake, whatever it led to.

    Cyclopts itself takes it for a file where a file may be '-', a standard stream.
    """
    if error.app is None or error.app.default_command is None:
        return None
    options = [
        name for argument in error.app.assemble_argument_collection() for name in argument.names
    ]
    for word in error.root_input_tokens or ():
        name = word.split("=")[0]
        if re.match(r"--?[a-zA-Z]", name) and name not in options:
            close = difflib.get_close_matches(name, options, n=1)
            return f"Unknown option: {name}." + "".join(f" Did you mean {x}?" for x in close)
    return None


def _shown_default(value: object) -> object:
    """Flags that are off and lists that are empty need no word."""
    return None if value is False or value == () else value


def _version() -> str:
    with suppress(PackageNotFoundError):
        return version("lacuna-codec")
    return "not installed"


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Warnings as plain lines, without the place in the code that they come from."""
    previous = warnings.showwarning
    warnings.showwarning = lambda message, *args, **kwargs: say(f"lacuna: warning: {message}")
    try:
        yield
    finally:
        warnings.showwarning = previous
