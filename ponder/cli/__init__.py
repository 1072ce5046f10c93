"""The command line: thin, one function a command. Answers go to standard output, everything else to
standard error.

Rooms are imported inside the commands, so that `--help` answers at once.
"""

from ponder.cli.program import app, main

__all__ = ["app", "main"]
