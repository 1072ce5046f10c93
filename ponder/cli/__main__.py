"""`python -m ponder.cli` is the `ponder` program."""

from ponder.cli.program import main

main()
