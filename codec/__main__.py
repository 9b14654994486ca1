"""``python -m codec`` is the command ``lacuna``; torchrun starts several processes by it."""

from codec.cli.program import main
from codec.process import run

run(main)
