"""L: how long a cold import takes, how large an installation is, and how many packages it has.

Cold is a new process with files in the page cache. pip and setuptools are not counted.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.overhead.bench import CONTENDERS, Bench
from benchmarks.overhead.metrics import Row

_TIMED = "import time; t = time.perf_counter(); {}; print('took', time.perf_counter() - t)"
_OURS = ("pip", "setuptools", "pip-", "setuptools-", "_distutils_hack", "pkg_resources")


def installed(bench: Bench, rounds: int) -> Iterator[Row]:
    for name in bench.names:
        rival = CONTENDERS[name]
        row = Row(metric="installed", case="cold", contender=name)
        python = rival.packages / "bin" / "python"
        if not python.exists():
            row.note = f"not installed: run `make .rivals/{name}/ready`"
            yield row
            continue
        [packages] = rival.packages.glob("lib/python*/site-packages")
        size, count = measured(packages)
        row.add({"MB": size, "packages": count})
        for turn in range(rounds + 1):
            seconds = imported(python, rival.imports)
            if turn:  # the first fills the page cache and writes bytecode
                row.add({"import s": seconds})
        yield row


def imported(python: Path, statement: str) -> float:
    done = subprocess.run(
        ["taskset", "-c", "1", str(python), "-c", _TIMED.format(statement)],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        | {"OPENAI_API_KEY": "x"},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    return float(next(x for x in done.stdout.splitlines() if x.startswith("took")).split()[1])


def measured(packages: Path) -> tuple[float, int]:
    """Megabytes without bytecode, and distributions."""
    size = 0
    for entry in packages.iterdir():
        if entry.name in _OURS or entry.name.startswith(("pip-", "setuptools-")):
            continue
        files = entry.rglob("*") if entry.is_dir() else [entry]
        size += sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")
    found = [e.name for e in packages.glob("*.dist-info")]
    return size / 10**6, sum(not n.startswith(("pip-", "setuptools-")) for n in found)
