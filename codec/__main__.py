"""``python -m codec`` is the command ``lacuna``; ``accelerate launch -m codec`` needs it."""

from codec.cli.program import main

main()
