"""Compiles the kernels for an H100, which takes no GPU; prints of each its name, its shared memory
in bytes and whether it uses the matrix units.

The interpreter takes more than the compiler does. Run without TRITON_INTERPRET.
"""

from __future__ import annotations

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ponder.runtime.kernels.gpu import attention, linear, norm, parts, rotation
from ponder.runtime.kernels.gpu.launch import HOPPER, Launch

LETTERS = {"b": "*bf16", "f": "*fp32", "i": "*i32", "l": "*i64", "n": "i32", "x": "fp32"}
PLAIN = Launch(warps=4, stages=3)
HEAD = {"DIM": 128, "WIDE_DIM": 128}
ATTEND = {
    **HEAD,
    **{"KV_HEADS": 4, "GROUP": 7, "WIDE_GROUP": 8, "PAGE": 16, "ROWS": 64, "PLACES": 64},
    **{"SPAN": 256, "TREES": True, "WIDEN": False},
}
PRODUCT = {"INNER": 64, "CHUNK": 512, "BIAS": True, "WIDEN": False}
TURN = {"HEADS": 32, "KV_HEADS": 8, "VECTORS": 16, **HEAD}
KERNELS: list[tuple[Any, str, dict[str, Any], Launch]] = [  # Triton has no types
    (attention._attend, "bbbiiilfffx", ATTEND, HOPPER.wide_attention),
    (parts._merge, "fffiiibf", {"HEADS": 28, "WIDE_HEADS": 8, **HEAD}, PLAIN),
    (linear._product, "bbfbnnnn", {"ROWS": 64, "COLUMNS": 64, **PRODUCT}, HOPPER.few_rows),
    (linear._product, "bbfbnnnn", {"ROWS": 128, "COLUMNS": 128, **PRODUCT}, HOPPER.many_rows),
    (linear._add_chunks, "ffbnnn", {"LANES": 1024, "BIAS": True}, PLAIN),
    (rotation._place_keys, "biiffbbn", {"PAGE": 16, **TURN}, PLAIN),
    (rotation._turn_queries, "biiffbn", TURN, PLAIN),
    (rotation._move_keys, "biiiff", {"LAYER": 1 << 20, "KV_HEADS": 8, "PAGE": 16, **HEAD}, PLAIN),
    (
        norm._norm,
        "ffbnx",
        {"NORMED": 1, "HEADS": 1, "VECTORS": 1, "WIDTH": 4096, "WIDE": 4096},
        PLAIN,
    ),
    (norm._log_sum_exp, "ffn", {"BLOCK": 1024}, PLAIN),
]


def main() -> None:
    for kernel, letters, constants, launch in KERNELS:
        names = kernel.arg_names
        given = [name for name in names if name not in constants]
        types = dict(zip(given, (LETTERS[letter] for letter in letters), strict=True))
        source = ASTSource(
            kernel,
            {name: types.get(name, "constexpr") for name in names},
            constexprs={(names.index(name),): value for name, value in constants.items()},
            attrs={
                (i,): [["tt.divisibility", 16]]
                for i, name in enumerate(names)
                if types.get(name, "").startswith("*")
            },
        )
        options = launch.options()
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        print(kernel.__name__, made.metadata.shared, "wgmma" in made.asm["ptx"])


if __name__ == "__main__":
    main()
