"""Times the GPU's kernels beside torch and FlashInfer, and the engine on them.

For each shape: attention of one decode step, as a fraction of the copy bandwidth measured first
(bytes of keys and values that must be read once, over the time), for Ponder's kernels with their
merge, torch's SDPA on gathered keys, and FlashInfer's decode and cascade kernels where
`flashinfer-python` is installed. Before that: results against the reference, and rows to the bit,
alone and in company. Then whole steps of a decoder with random weights. The last line is JSON.

It needs a GPU; `--interpret` runs tiny shapes on the CPU instead, for a check of the script.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ponder.runtime.runners.api import PAGE, Runner, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decode step: `batch` rows of `context` places, `shared` of them in common."""

    heads: int
    kv_heads: int
    width: int
    batch: int
    context: int
    shared: int = 0


MODELS = {"llama-3.2-1b": (32, 8, 64), "llama-3-8b": (32, 8, 128), "qwen2.5-7b": (28, 4, 128)}
LOADS = [(1, 1024, 0), (1, 32768, 0), (16, 4096, 0), (64, 2048, 0), (256, 1024, 0)]
SHARED = [(16, 4096, 3072), (64, 2048, 1920), (256, 2048, 1920)]
TINY = [Shape(heads=4, kv_heads=2, width=16, batch=3, context=140, shared=s) for s in (0, 100)]


def shapes() -> list[Shape]:
    return [
        Shape(heads=h, kv_heads=k, width=w, batch=b, context=c, shared=s)
        for h, k, w in MODELS.values()
        for b, c, s in [*LOADS, *SHARED]
    ]


def seconds(run: Callable[[], object], device: str, rounds: int = 30) -> float:
    """Median of rounds, each with a cold L2."""
    start = time.perf_counter()
    run()
    if device == "cpu":
        return time.perf_counter() - start
    flush = torch.empty(256 << 20, dtype=torch.int8, device=device)
    times: list[float] = []
    for _ in range(rounds):
        flush.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def copy_bandwidth(device: str) -> float:
    """Bytes a second, read and written."""
    size = 1 << 20 if device == "cpu" else 2 << 30
    source = torch.empty(size, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds(lambda: target.copy_(source), device)


def works_of(shape: Shape) -> list[Work]:
    """Whole pages at random places; the shared ones first."""
    common = -(-shape.shared // PAGE)
    own = -(-shape.context // PAGE) - common
    order = np.random.default_rng(0).permutation(common + own * shape.batch)
    works: list[Work] = []
    for i in range(shape.batch):
        pages = np.concatenate([order[:common], order[common + own * i : common + own * (i + 1)]])
        slots = (pages[:, None] * PAGE + np.arange(PAGE)).ravel()[: shape.context]
        works.append(Work(tokens=[0], slots=slots, wanted=1))
    return works


class Case:
    """A shape's memory and queries, and what attends to them."""

    def __init__(self, shape: Shape, device: str) -> None:
        from ponder.runtime.kernels.gpu import attention, parts

        self.shape, self.device = shape, device
        self._attention, self._parts = attention, parts
        self.works = works_of(shape)
        pages = 1 + max(int(work.slots.max()) for work in self.works) // PAGE
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        size = (pages, shape.kv_heads, PAGE, shape.width)
        self.keys, self.values = torch.randn(2, *size, device=device).to(dtype)
        rows = (shape.batch, shape.heads, shape.width)
        self.queries = torch.randn(rows, device=device).to(dtype)
        self.scale = shape.width**-0.5

    @property
    def bytes_read(self) -> int:
        shape = self.shape
        places = shape.shared + shape.batch * (shape.context - shape.shared)
        size: int = self.keys.element_size()
        return 2 * places * shape.kv_heads * shape.width * size

    def ponder(self, works: Sequence[Work]) -> Callable[[Tensor], Tensor]:
        """Attention of these works' queries; planned once, as for all layers of a step."""
        from ponder.runtime.runners.tile_plan import make_tiles

        shape, parts = self.shape, self._parts
        tile = self._attention.members_a_tile(shape.heads // shape.kv_heads)
        plan = make_tiles(works, tile=tile, kv_heads=shape.kv_heads)
        names = ("places", "items", "members", "starts", "parts", "segments")
        arrays = {n: torch.from_numpy(getattr(plan, n)).to(self.device) for n in names}
        trees = torch.zeros(1, dtype=torch.int64, device=self.device)
        reads = parts.Reads(**arrays, trees=trees, has_trees=False)

        def run(queries: Tensor) -> Tensor:
            found = self._attention.attend(queries, self.keys, self.values, reads, self.scale)
            outputs: Tensor = parts.merge(found, reads, queries.dtype)[0]
            return outputs

        return run

    def gathered(self) -> tuple[Tensor, Tensor]:
        """Keys and values, [batch, kv_heads, context, head_dim]."""
        slots = torch.from_numpy(np.stack([work.slots for work in self.works])).to(self.device)
        keys, values = (
            m[slots // PAGE, :, slots % PAGE].transpose(1, 2).contiguous()
            for m in (self.keys, self.values)
        )
        return keys, values

    def sdpa(self) -> Callable[[], Tensor]:
        keys, values = self.gathered()
        return lambda: functional.scaled_dot_product_attention(
            self.queries[:, :, None], keys, values, scale=self.scale, enable_gqa=True
        )[:, :, 0]

    def check(self) -> dict[str, object]:
        """Largest error against float32 SDPA, and whether company changes a bit."""
        together = self.ponder(self.works)(self.queries)
        keys, values = (half[:4].float() for half in self.gathered())
        want = functional.scaled_dot_product_attention(
            self.queries[:4, :, None].float(), keys, values, scale=self.scale, enable_gqa=True
        )[:, :, 0]
        alone = self.ponder(self.works[:1])(self.queries[:1])
        return {
            "error": float((together[:4].float() - want).abs().max()),
            "same_bits_alone": bool(torch.equal(alone[0], together[0])),
        }


def flashinfer_runs(case: Case) -> dict[str, Callable[[], object]]:
    """FlashInfer's paged decode, and its two-level cascade where places are shared."""
    try:
        flashinfer: Any = importlib.import_module("flashinfer")  # it has no types
    except ImportError:
        return {}
    shape, device = case.shape, case.device
    room = torch.empty(256 << 20, dtype=torch.uint8, device=device)
    pages = [work.slots[::PAGE] // PAGE for work in case.works]
    heads = (shape.heads, shape.kv_heads, shape.width, PAGE)
    cache = (case.keys, case.values)

    def table(lists: Sequence[Any]) -> tuple[Tensor, Tensor]:
        ends = np.cumsum([0, *(len(some) for some in lists)])
        both = (torch.tensor(ends), torch.from_numpy(np.concatenate(lists)))
        return both[0].int().to(device), both[1].int().to(device)

    def last(context: int, count: int) -> Tensor:
        return torch.full((count,), (context - 1) % PAGE + 1, dtype=torch.int32, device=device)

    decode = flashinfer.BatchDecodeWithPagedKVCacheWrapper(room, "HND", use_tensor_cores=True)
    full = last(shape.context, shape.batch)
    kind = {"q_data_type": case.queries.dtype}
    decode.plan(*table(pages), full, *heads, **kind, kv_data_type=case.keys.dtype)
    runs: dict[str, Callable[[], object]] = {"flashinfer": lambda: decode.run(case.queries, cache)}
    if shape.shared:
        common = shape.shared // PAGE
        first, rest = table([pages[0][:common]]), table([some[common:] for some in pages])
        everyone = torch.tensor([0, shape.batch], dtype=torch.int32, device=device)
        each = torch.arange(shape.batch + 1, dtype=torch.int32, device=device)
        cascade = flashinfer.MultiLevelCascadeAttentionWrapper(2, room, "HND")
        cascade.plan(
            [everyone, each],
            [first[0], rest[0]],
            [first[1], rest[1]],
            [last(shape.shared, 1), full],
            *heads,
            **kind,
        )
        runs["flashinfer cascade"] = lambda: cascade.run(case.queries, cache)
    return runs


def kernels(device: str, bandwidth: float, chosen: Sequence[Shape]) -> list[dict[str, object]]:
    table: list[dict[str, object]] = []
    for shape in chosen:
        case = Case(shape, device)
        attend = case.ponder(case.works)
        runs: dict[str, Callable[[], object]] = {"ponder": partial(attend, case.queries)}
        if device != "cpu":
            runs |= flashinfer_runs(case)
        if shape.batch * shape.context <= 1 << 17:  # gathering takes the memory of all rows
            runs["sdpa, gathered"] = case.sdpa()
        row: dict[str, object] = {"shape": str(shape), **case.check()}
        for name, run in runs.items():
            took = seconds(run, device)
            row[name] = {
                "us": round(took * 1e6, 1),
                "of_copy": round(case.bytes_read / took / bandwidth, 3),
            }
        print(row, flush=True)
        table.append(row)
    return table


def linears(device: str, sizes: Sequence[tuple[int, int]]) -> list[dict[str, object]]:
    """The fixed-order product beside cuBLAS, and whether a row's bits depend on how many there
    are.
    """
    from ponder.runtime.kernels.gpu.linear import linear

    table: list[dict[str, object]] = []
    for columns, inner in sizes:
        weight = torch.randn(columns, inner, device=device)
        weight = weight if device == "cpu" else weight.bfloat16()
        many = torch.randn(130, inner, device=device).to(weight.dtype)
        results = [linear(many[:n], weight, None, torch.float32)[0] for n in (1, 16, 64, 65, 130)]
        row: dict[str, object] = {
            "out, in": (columns, inner),
            "same_bits": all(torch.equal(result, results[0]) for result in results),
        }
        for rows in (1, 64, 130):
            x = many[:rows]
            own = seconds(partial(linear, x, weight, None, torch.float32), device)
            blas = seconds(partial(functional.linear, x, weight), device)
            row[f"{rows} rows, times as long as cuBLAS"] = round(own / blas, 2)
        print(row, flush=True)
        table.append(row)
    return table


def steps(device: str, tiny: bool) -> list[dict[str, object]]:
    """Tokens a second of decode steps with random weights of Llama-3-8B's shape."""
    from ponder.runtime.models.config import ModelConfig
    from ponder.runtime.models.layout import shapes as weight_shapes
    from ponder.runtime.runners.triton_runner import TritonRunner

    layers, hidden, inner, heads, kv_heads, width, vocabulary = (
        (1, 32, 48, 4, 2, 16, 64) if tiny else (32, 4096, 14336, 32, 8, 128, 128256)
    )
    config = ModelConfig(
        architecture="llama",
        layers=layers,
        hidden=hidden,
        intermediate=inner,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=width,
        vocabulary=vocabulary,
        norm_epsilon=1e-5,
        rope_theta=500_000.0,
        context_length=8192,
        tied_embeddings=False,
    )
    dtype = torch.float32 if tiny else torch.bfloat16
    weights = {n: 0.02 * torch.randn(s, dtype=dtype) for n, s in weight_shapes(config).items()}
    kind = "float32" if tiny else "bfloat16"
    runner = TritonRunner(config, weights, weight_format=kind, device=device)
    loads = [(2, 70, 64)] if tiny else [(1, 1024, 0), (16, 1024, 512), (64, 1024, 512)]
    table: list[dict[str, object]] = []
    for batch, context, shared in loads:
        shape = Shape(
            heads=heads, kv_heads=kv_heads, width=width, batch=batch, context=context, shared=shared
        )
        works = works_of(shape)
        runner.reserve(1 + max(int(work.slots.max()) for work in works) // PAGE)
        took = seconds(partial(_step, runner, works), device, rounds=10)
        row: dict[str, object] = {"batch": batch, "context": context, "shared": shared}
        row["tokens_a_second"] = round(batch / took, 1)
        print(row, flush=True)
        table.append(row)
    return table


def _step(runner: Runner, works: Sequence[Work]) -> Tensor:
    return runner.logits(runner.hidden(works))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--interpret", action="store_true", help="tiny shapes on the CPU")
    given = parser.parse_args()
    if given.interpret:
        os.environ["TRITON_INTERPRET"] = "1"
    elif not torch.cuda.is_available():
        sys.exit(
            "no GPU here: torch sees no CUDA device; --interpret checks the script without one"
        )
    device = "cpu" if given.interpret else "cuda"
    name = "interpreted" if given.interpret else torch.cuda.get_device_name()
    with torch.inference_mode():
        bandwidth = copy_bandwidth(device)
        print(f"{name}, copies at {bandwidth / 1e9:.0f} GB/s")
        report = {
            "device": name,
            "copy_bandwidth": bandwidth,
            "attention": kernels(device, bandwidth, TINY if given.interpret else shapes()),
            "linear": linears(
                device, [(70, 600)] if given.interpret else [(6144, 4096), (4096, 14336)]
            ),
            "steps": steps(device, given.interpret),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
