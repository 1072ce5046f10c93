"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ponder"
LEVEL = {"runtime": 0, "verifiers": 1, "memory": 1, "strategies": 2, "orchestrator": 3, "evals": 4}
TOP = "cli"
HEAVY = {
    "torch",
    "numpy",
    "transformers",
    "datasets",
    "sympy",
    "math_verify",
    "pydantic",
    "networkx",
}
HEAVY |= {
    "openai",
    "httpx",
    "yaml",
    "rich",
    "typer",
    "tokenizers",
    "gguf",
    "safetensors",
    "huggingface_hub",
    "jinja2",
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room_of(path: Path) -> str | None:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def own_imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ponder"):
            yield node.module, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((a.name, node.lineno) for a in node.names if a.name.startswith("ponder"))


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) in LEVEL], ids=named)
def test_rooms_import_downwards_and_through_faces(path: Path) -> None:
    here = room_of(path)
    assert here is not None
    for module, line in own_imports(parsed(path)):
        there = module.split(".")[1] if "." in module else ""
        if there == here:
            continue
        where = f"{named(path)}:{line} imports {module}"
        assert there in LEVEL, f"{where}: a room imports only rooms"
        assert LEVEL[there] < LEVEL[here], f"{where}: {here} may not import {there}"
        assert module == f"ponder.{there}", (
            f"{where}: import from the face, `from ponder.{there} import ...`"
        )


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) in (None, TOP)], ids=named)
def test_the_top_uses_faces_only(path: Path) -> None:
    for module, line in own_imports(parsed(path)):
        at_home = room_of(path) == TOP and module.startswith(f"ponder.{TOP}")
        assert at_home or module.count(".") <= 1, f"{named(path)}:{line} reaches into {module}"


def test_the_first_level_is_the_rooms() -> None:
    found = {p.name for p in PACKAGE.iterdir() if not p.name.startswith("__pycache__")}
    assert found <= {*LEVEL, TOP, "__init__.py", "py.typed"}


@pytest.mark.parametrize(
    "module", ["ponder", *(f"ponder.{room}" for room in LEVEL if (PACKAGE / room).exists())]
)
def test_faces_are_light(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not HEAVY & set(out.stdout.split()), f"import {module} pulls heavy packages"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_sizes(path: Path) -> None:
    assert path.read_text().count("\n") <= 300, f"{named(path)} is over 300 lines"
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{named(path)}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(parsed(path)), f"{named(path)} has no docstring"


def dataclass_switches(node: ast.ClassDef) -> set[str | None] | None:
    """What `@dataclass(...)` sets to True, or None for a class that is no dataclass."""
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        target = call.func if call else decorator
        if isinstance(target, ast.Name) and target.id == "dataclass":
            on = call.keywords if call else []
            return {k.arg for k in on if getattr(k.value, "value", None) is True}
    return None


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_dataclasses_are_slotted_and_keyword_only(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        switches = dataclass_switches(node) if isinstance(node, ast.ClassDef) else None
        if isinstance(node, ast.ClassDef) and switches is not None:
            where = f"{named(path)}:{node.lineno} {node.name}"
            assert "slots" in switches, f"{where}: slots=True"
            private = node.name.startswith("_") or node.name == "BranchPath"
            assert "kw_only" in switches or private, f"{where}: kw_only=True"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_executes_foreign_text_or_swallows_errors(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        where = f"{named(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}, f"{where}: {node.func.id}()"
            to_terminal = node.func.id == "print" and not any(
                k.arg == "file" for k in node.keywords
            )
            assert not to_terminal, f"{where}: a library does not print to the terminal"
        if isinstance(node, ast.Import):
            assert not {a.name for a in node.names} & {"pickle", "marshal", "shelve"}, where
        assert not isinstance(node, ast.Assert), f"{where}: assert is not for input"
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or getattr(node.type, "id", "") in {
                "Exception",
                "BaseException",
            }
            kept = any(isinstance(n, ast.Raise) for n in ast.walk(node)) or node.name is not None
            assert not broad or kept, f"{where}: a broad except neither raises nor records"
