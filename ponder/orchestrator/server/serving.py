"""From what the command line gives to a server that listens."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ponder.orchestrator.expression import Expression
from ponder.orchestrator.notation import load_strategy
from ponder.orchestrator.presets import PRESETS
from ponder.orchestrator.server.catalogue import Catalogue
from ponder.orchestrator.server.settings import ServerSettings
from ponder.orchestrator.solving import Runtime
from ponder.runtime import InputError


def read_keys(file: Path | None) -> tuple[str, ...]:
    """API keys, one a line; empty lines are none.

    Raises:
        InputError: the file cannot be read or holds no key.
    """
    if file is None:
        return ()
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"key file {str(file)!r} cannot be read: {error}") from error
    keys = tuple(line.strip() for line in lines if line.strip())
    if not keys:
        raise InputError(f"key file {str(file)!r} holds no key; write one on a line of its own")
    return keys


def served_strategies(files: Sequence[Path]) -> dict[str, Expression]:
    """The presets, and the strategies of YAML files by their file's name."""
    offered = {name: preset.expression for name, preset in PRESETS.items()}
    for file in files:
        if file.stem in offered and file.stem not in PRESETS:
            raise InputError(f"two strategy files are named {file.stem!r}; rename one")
        offered[file.stem] = load_strategy(str(file))
    return offered


async def serve(
    runtime: Runtime,
    catalogue: Catalogue,
    settings: ServerSettings,
    *,
    host: str,
    port: int,
    told: Callable[[str], None],
) -> None:
    """Listen until the process is asked to stop (SIGINT, SIGTERM), and for as long after as
    requests under way take, at most `settings.grace`; asked again, no longer.

    Args:
        runtime: whose engines answer; stays its owner's to close.
        catalogue: what is offered.
        settings: limits and keys.
        host: to listen on.
        port: 0 takes a free one.
        told: is given the address once the server listens.

    Raises:
        InputError: the `serve` extra is missing, or the address cannot be listened on.
    """
    missing = [n for n in ("fastapi", "uvicorn", "prometheus_client") if find_spec(n) is None]
    if missing:
        raise InputError(
            f"serving needs {', '.join(missing)}, which is not installed; "
            "run: pip install 'ponder[serve]'"
        )
    from ponder.orchestrator.server.draining import serve_until_told

    listening = listen(host, port)
    where = f"http://{host}:{listening.getsockname()[1]}/v1"
    greeting = f"serving {', '.join(catalogue.names)} at {where}; Ctrl-C stops"
    await serve_until_told(runtime, catalogue, settings, listening, started=lambda: told(greeting))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises `InputError` where there can be none."""
    if not 0 <= port <= 65_535:
        raise InputError(f"port is {port!r}; it must be 0 (any free one) to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host!r} port {port!r}: {error.strerror or error}; give another"
        ) from error
    # asyncio turns Nagle's delay off where a socket says that it is TCP, and one made like that
    # says so only when it is looked at anew: replies would wait 40 ms for an acknowledgement.
    return socket.socket(fileno=made.detach())
