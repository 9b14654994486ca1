"""``python -m diffusion`` is the command ``lacuna``; torchrun starts several processes by it."""

from codec.process import run
from diffusion.cli.program import main

run(main)
