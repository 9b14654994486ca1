"""``python -m diffusion`` is the command ``lacuna``; torchrun starts several processes by it."""

from diffusion.cli.program import main

main()
