"""The contenders' processes: what each is started with, asking it for work, and what it used.

A contender that is not installed, fails to start, fails at its work or takes too long is told as a
`Failure`; the others go on.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rivals.protocol import Work, encode

ROOT = Path(__file__).parent.parent
RIVALS = ROOT / ".rivals"
MODEL = RIVALS / "model"
START_SECONDS = 400.0
WORK_SECONDS = 240.0


class Failure(Exception):
    """Why there is no number; the text goes into the table."""


class Late(Failure):
    """No answer in time; the process was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    name: str
    python: Path
    arguments: Sequence[str]
    """After `python -m`: a driver module and what it takes."""
    files: Sequence[Path] = ()
    """What it reads at its start besides its packages."""
    core: int | None = None
    """Of the processor, which it keeps to; None for any."""

    @property
    def installed(self) -> bool:
        return self.python.exists()


def ponder(weights: str) -> Contender:
    return Contender(
        name=f"ponder_{weights}",
        python=Path(sys.executable),
        arguments=("benchmarks.own", "--weights", weights),
        files=(MODEL / "gguf",),
    )


def rival(name: str, driver: str, model: str, *settings: str) -> Contender:
    return Contender(
        name=name,
        python=RIVALS / driver / "bin" / "python",
        arguments=(f"benchmarks.rivals.{driver}", str(MODEL / model), *settings),
        files=(MODEL / model,),
    )


OTHERS: Sequence[Contender] = (
    rival("vllm", "vllm_cpu", "hugging_face"),
    rival("llamacpp", "llama_cpp", "gguf", "Q4_1 as it is"),
    rival("llamacpp_q4_0", "llama_cpp", "gguf_q4_0", "Q4_0 made from it"),
    rival("hf", "hugging_face", "hugging_face", "bfloat16"),
)


class Running:
    """A contender's process. Close it when done."""

    def __init__(self, contender: Contender) -> None:
        """Start it and wait until its model is loaded.

        Raises:
            Failure: it is not installed, or did not get that far.
        """
        if not contender.installed:
            raise Failure("not installed: run `make rivals`")
        RIVALS.mkdir(exist_ok=True)
        self._log = RIVALS / f"{contender.name}.log"
        self._answers = queue.SimpleQueue[str]()
        self.peak = 0
        started = time.perf_counter()
        with self._log.open("w") as log:
            kept = [] if contender.core is None else ["taskset", "-c", str(contender.core)]
            self._process = subprocess.Popen(
                [*kept, contender.python, "-m", *contender.arguments],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            answer = self._answer(START_SECONDS)
        except Failure:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - started
        self.description = str(answer["ready"])
        self.versions = answer["versions"]

    def seconds(self, work: Work) -> float:
        """How long it took.

        Raises:
            Failure: it failed, or took longer than is allowed; then it is stopped.
        """
        seconds = float(str(self.ask(encode(work), WORK_SECONDS)["seconds"]))
        self.peak = max(self.peak, peak_bytes(self._process.pid))
        return seconds

    def ask(self, line: str, seconds: float) -> dict[str, object]:
        """What it answers to a line; raises as `seconds` does."""
        stdin = self._process.stdin
        if stdin is None or self._process.poll() is not None:
            raise Failure(f"its process has ended; see {self._log.relative_to(ROOT)}")
        stdin.write(line + "\n")
        stdin.flush()
        answer = self._answer(seconds)
        if "error" in answer:
            raise Failure(str(answer["error"]))
        return answer

    def close(self) -> None:
        """End it and what it started."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._kill()
        self._listener.join(timeout=20)

    def _kill(self) -> None:
        for pid in [*descendants(self._process.pid), self._process.pid]:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self._process.wait()

    def _listen(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as answers:
                for line in answers:
                    self._answers.put(line)
        self._answers.put("")

    def _answer(self, seconds: float) -> dict[str, object]:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self._kill()
            raise Late(f"no answer within {seconds:.0f} s; stopped") from None
        if not line:
            tail = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Failure(f"its process ended: {''.join(tail)}")
        answer: dict[str, object] = json.loads(line)
        return answer


def descendants(pid: int) -> Iterator[int]:
    """Processes that `pid` started, and theirs."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:  # the thread is gone
            continue
        for child in map(int, found):
            yield child
            yield from descendants(child)


def peak_bytes(pid: int) -> int:
    """Highest resident memory so far of a process and those it started, summed."""
    total = 0
    for each in [pid, *descendants(pid)]:
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")
        )
    return total


def forget(contender: Contender) -> None:
    """Drop its model and packages from the page cache, as far as the system obliges."""
    if contender.python == Path(sys.executable):
        folders = [Path(p) for p in sys.path if p.endswith("site-packages")]
    else:
        folders = [contender.python.parents[1]]
    for file in [*contender.files, *(f for folder in folders for f in folder.rglob("*.so*"))]:
        for each in file.rglob("*") if file.is_dir() else [file]:
            if each.is_file():
                descriptor = os.open(each, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
