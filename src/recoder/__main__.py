"""``python -m recoder`` is the command ``recoder``."""

from recoder.cli import main

main()
