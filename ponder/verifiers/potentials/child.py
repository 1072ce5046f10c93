"""Runs a user's functions in a process of its own, so that one which hangs can be ended.

Alone: it imports nothing of Ponder. The first line brings the functions; each later one asks one of
them about texts. An alarm ends this process when a call takes too long, whatever it is doing, and
even when nobody is left to kill it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import IO, Any

SHOWN = 200
"""Characters of what a function said that an error shows."""


def main() -> None:
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # what the functions print or read is none of ours
        os.dup2(nothing, stream)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    tell(answers, {"ready": True})
    functions = dict[str, Callable[[str], object]]()
    for line in asked:
        request = json.loads(line)
        if "functions" in request:
            reply, functions = read(request)
        else:
            reply = weighed(functions[request["which"]], request["texts"], request["seconds"])
        tell(answers, {"id": request["id"], **reply})


def read(request: Mapping[str, Any]) -> tuple[dict[str, object], dict[str, Any]]:
    sys.path[:] = request["path"]
    try:
        # Of the caller's own functions, by the caller's own process.
        return {}, import_module("cloudpickle").loads(b64decode(request["functions"]))
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}, {}


def weighed(
    function: Callable[[str], object], texts: Sequence[str], seconds: float
) -> dict[str, object]:
    """Weights in order, up to the first text that it fails on."""
    weights: list[float] = []
    for text in texts:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                weight = function(text)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Exception as error:
            return {"weights": weights, "failed": raised(error)}
        if not isinstance(weight, bool | int | float) or not 0 <= weight <= 1:
            said = f"gave {shown(repr(weight))}; it must give True, False or a weight in [0, 1]"
            return {"weights": weights, "failed": said}
        weights.append(float(weight))
    return {"weights": weights}


def raised(error: Exception) -> str:
    """With the last line of the user's own file that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # without ours
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    where = f" (line {own[-1].lineno}, in {own[-1].name})" if own else ""
    return f"raised {type(error).__name__}: {shown(str(error))}{where}"


def shown(said: str) -> str:
    return said if len(said) <= SHOWN else f"{said[:SHOWN]}..."


def tell(answers: IO[bytes], reply: Mapping[str, object]) -> None:
    answers.write(json.dumps(reply).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
