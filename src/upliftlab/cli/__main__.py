"""Run the command line with `python -m upliftlab.cli`."""

from upliftlab.cli import main

main()
