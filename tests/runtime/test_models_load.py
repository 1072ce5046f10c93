import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import tiny_models
from safetensors.numpy import save_file

from ponder.runtime import InputError
from ponder.runtime.models import known_models, load_model

REVISION = "0123456789012345678901234567890123456789"


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "gpt-4",
        "a/b/c",
        "./no/such/place",
        "../x",
        "org/na me",
        "http://x/y",
        "embedded2",
        "~nobody/x",
        "a\0b",
        "x" * 5000,
    ],
)
def test_a_name_of_nothing_is_refused_with_what_is_allowed(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match=r"names nothing.*'embedded'.*\.gguf.*ORG/NAME"):
        load_model(spec)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="a kind not read here"):
        load_model(str(tmp_path / "model.bin"))


def test_a_path_is_named_by_its_file(tmp_path: Path) -> None:
    assert load_model(str(tiny_models.write(tmp_path / "My.Model.gguf"))).name == "My.Model"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PONDER_CACHE", str(tmp_path / "ponder"))
    (tmp_path / "ponder" / "models").mkdir(parents=True)
    return tmp_path


def test_known_models_lists_the_embedded_one_and_cached_files(places: Path) -> None:
    models = places / "ponder" / "models"
    tiny_models.write(models / "tiny.gguf")
    (models / "broken.gguf").write_bytes(b"GGUF")
    first, *rest = known_models()
    assert (first.name, first.cached) == ("SmolLM2-135M-Instruct", False)
    assert (first.size, first.architecture, first.parameters) == (98362432, "llama", 134515008)
    tiny = next(m for m in rest if m.where == models / "tiny.gguf")
    assert (tiny.name, tiny.cached, tiny.architecture) == (str(tiny.where), True, "llama")
    assert tiny.parameters == sum(a.size for a in tiny_models.tensors().values())
    assert tiny.size == tiny.where.stat().st_size
    assert not any("broken" in m.name for m in rest)


def in_child(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def hub_cache(home: Path, name: str) -> Path:
    """A snapshot laid out as the hub's client lays it: blobs, refs, links."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / REVISION
    (repository / "refs").mkdir(parents=True)
    (repository / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    return snapshot


def add(snapshot: Path, source: Path) -> None:
    blob = snapshot.parent.parent / "blobs" / source.name
    shutil.copy(source, blob)
    (snapshot / source.name).symlink_to(Path("../../blobs") / source.name)


LIST = """
import sys
from ponder.runtime.models import known_models
print([(m.name, m.size > 0) for m in known_models()[1:]])
print("torch" in sys.modules)
"""
LOAD = """
from ponder.runtime.models import load_model
loaded = load_model("org/tiny")
print(loaded.name, loaded.config.layers, sorted(loaded.tokenizer.end_tokens))
"""


def test_a_model_in_the_hub_cache_is_listed_and_loads_offline(places: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    made = places / "made"
    config = LlamaConfig(
        vocab_size=3, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(made)
    (made / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})
    )
    snapshot = hub_cache(places / "hf", "org/tiny")
    for file in made.iterdir():
        add(snapshot, file)
    other = hub_cache(places / "hf", "org/other")
    (made / "config.json").write_text('{"model_type": "bert"}')
    add(other, made / "config.json")
    settings = {"HF_HOME": str(places / "hf"), "HF_HUB_OFFLINE": "1"}
    loaded = in_child(LOAD, **settings)
    assert (loaded.stdout, loaded.stderr) == ("org/tiny 1 [2]\n", "")
    listed = in_child(LIST, **settings)
    assert listed.stdout == "[('org/tiny', True)]\nFalse\n", listed.stderr


@pytest.mark.parametrize(
    "settings",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}],
    ids=["told to stay offline", "no network"],
)
def test_a_model_that_cannot_be_reached(places: Path, settings: dict[str, str]) -> None:
    code = """
from ponder.runtime import ModelError
from ponder.runtime.models import load_model
try:
    load_model("org/tiny")
except ModelError as error:
    print(error.retryable, error)
"""
    ran = in_child(code, HF_HOME=str(places / "hf"), **settings)
    assert ran.stdout.startswith("True model 'org/tiny' "), ran.stderr
    assert "give a model's path instead" in ran.stdout
    assert ran.stdout.count("\n") == 1


def test_listing_leaves_unreadable_snapshots_out(places: Path) -> None:
    import numpy

    snapshot = hub_cache(places / "hf", "org/half")
    save_file({"x": numpy.zeros(1)}, places / "model.safetensors")
    add(snapshot, places / "model.safetensors")
    (places / "config.json").write_text("{")
    add(snapshot, places / "config.json")
    ran = in_child(LIST, HF_HOME=str(places / "hf"))
    assert ran.stdout == "[]\nFalse\n", ran.stderr


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.rsplit("/", 1)[-1]
        if "/secret" in self.path:
            self.answer(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask first"})
        elif "/tiny" not in self.path:
            self.answer(404, {"X-Error-Code": "RepoNotFound"})
        elif self.path.startswith("/api/models/org/tiny/tree/"):
            tree = [
                {"type": "file", "path": file, "size": len(content), "oid": "0"}
                for file, content in self.files.items()
            ]
            self.answer(200, {"Content-Type": "application/json"}, json.dumps(tree).encode())
        elif self.path.startswith("/api/models/org/tiny/"):
            siblings = [{"rfilename": file} for file in self.files]
            answer = {"id": "org/tiny", "sha": REVISION, "siblings": siblings, "tags": []}
            self.answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())
        else:
            self.answer(200, {"ETag": f'"{name}"', "X-Repo-Commit": REVISION}, self.files[name])

    do_HEAD = do_GET

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests keep quiet."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


FETCH = """
import os, sys
from ponder.runtime import PonderError
from ponder.runtime.models import hub
try:
    print(sorted(os.listdir(hub.snapshot(sys.argv[1]))))
except PonderError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("org/tiny", "['config.json', 'model-1.safetensors', 'tokenizer.json']"),
        ("org/nothing", "InputError the hub has no model 'org/nothing' that you may read"),
        ("org/secret", "InputError model 'org/secret' is gated: accept its terms"),
        ("org/a--b", "InputError 'org/a--b' is no name on the hub"),
    ],
)
def test_fetching_takes_no_code_and_no_pickles(
    places: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    wanted = {"config.json": b"{}", "tokenizer.json": b"{}", "model-1.safetensors": b"x"}
    hostile = {"modeling.py": b"x", "pytorch_model.bin": b"x", "model.pkl": b"x", "README.md": b"x"}
    monkeypatch.setattr(Hub, "files", wanted | hostile)
    monkeypatch.setattr(Hub, "asked", [])
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(places / "hf"), "NO_PROXY": "127.0.0.1"}
    ran = in_child(FETCH, name, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1", **settings)
    assert ran.stdout.startswith(said), ran.stderr
    assert ran.stderr == ""
    assert not any(file in path for path in Hub.asked for file in hostile)
