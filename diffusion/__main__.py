"""``python -m diffusion`` is the command ``lacuna``; `accelerate launch -m diffusion` needs it."""

from diffusion.cli.program import main

main()
