"""The compiled step as Python sees it: finds the module, mirrors its structs, raises its errors.

Called through ctypes, which lets go of the interpreter's lock. Knows addresses and numbers, not
models; `native/abi.h` and `native/step.h` state the layouts.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p
from functools import cache

from ponder.runtime.errors import InputError, ModelError, unknown

SWITCH = "PONDER_ISA"
"""Environment variable that names the instruction set to use instead of the best one."""
FORMATS = {"float32": 0, "bfloat16": 1, "int8": 2, "int4": 3}
TENSORS = (
    "embedding",
    "head",
    "norm",
    "cosines",
    "sines",
    "frequencies",
    "attention_norm",
    "projection",
    "output",
    "mlp_norm",
    "gate",
    "up",
    "down",
    "bias",
    "query_norm",
    "key_norm",
)
PHASES = ("linear", "attention", "other")
FORBIDDEN, NOT_FINITE = -1, -2
WIDEST_HEAD = 512
_NO_MEMORY, _UNKNOWN = -1, -2


class Shape(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("layers", "hidden", "intermediate", "heads", "kv_heads")),
        *((name, c_int32) for name in ("head_dim", "vocabulary", "positions")),
        ("epsilon", c_float),
        ("scale", c_float),
    )


class Work(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("slots", "positions", "homes", "shifts")),
        *((name, c_int64) for name in ("length", "count")),
    )


class Step(Structure):
    _fields_ = (
        ("tokens", c_void_p),
        ("works", POINTER(Work)),
        ("work_count", c_int64),
        ("wanted", c_void_p),
        ("wanted_count", c_int64),
        ("keys", c_void_p),
        ("values", c_void_p),
        ("pages", c_int64),
        ("hidden", c_void_p),
        ("nanoseconds", c_int64 * len(PHASES)),
    )


class Draw(Structure):
    _fields_ = (
        ("allowed", c_void_p),
        *((name, c_float) for name in ("temperature", "min_p", "top_p")),
        ("top_k", c_int32),
        ("uniform", c_double),
        ("token", c_int32),
        ("logprob", c_float),
    )


@cache
def library() -> ctypes.CDLL | None:
    """The compiled module; None where it was not built."""
    found = importlib.util.find_spec("ponder.runtime.kernels._native")
    if found is None or found.origin is None:
        return None
    doors = ctypes.CDLL(found.origin)
    doors.ponder_isas.restype = c_char_p
    doors.ponder_close.restype = None
    doors.ponder_close.argtypes = [c_void_p]
    doors.ponder_open.argtypes = [POINTER(Shape), c_int32, c_char_p, c_int32, POINTER(c_void_p)]
    doors.ponder_take.argtypes = [c_void_p, c_int32, c_int32, c_void_p]
    doors.ponder_step.argtypes = [c_void_p, POINTER(Step)]
    doors.ponder_head.argtypes = [c_void_p, c_void_p, c_int64, c_void_p]
    doors.ponder_linear.argtypes = [
        *(c_char_p, c_int32, c_void_p, c_int64, c_int64, c_void_p, c_int64, c_void_p),
    ]
    doors.ponder_draw.argtypes = [c_void_p, c_void_p, c_void_p, c_int64, POINTER(Draw)]
    return doors


def loaded() -> ctypes.CDLL:
    doors = library()
    if doors is None:
        raise ModelError("the native step was not built; install with a C++ compiler, or use torch")
    return doors


def instruction_sets() -> tuple[str, ...]:
    """What this machine and this build have, best first; empty where nothing was built.

    Those after "portable" are used only where `SWITCH` names them.
    """
    doors = library()
    return () if doors is None else tuple(doors.ponder_isas().decode().split())


def chosen_instruction_set() -> str:
    """The best one, or the one that the environment asks for.

    Raises:
        InputError: this machine has none by that name.
    """
    known = instruction_sets()
    wanted = os.environ.get(SWITCH, "") or known[0]
    if wanted not in known:
        raise InputError(
            f"{SWITCH} asks for an instruction set this machine or build lacks: "
            f"{unknown('instruction set', wanted, known)}; unset it to use {known[0]!r}"
        )
    return wanted


def check(answer: int, what: str) -> None:
    """Raise what a door's answer means."""
    if answer == _NO_MEMORY:
        raise ModelError(f"out of memory in {what}; use fewer tokens a step or a smaller model")
    if answer == _UNKNOWN:
        raise ModelError(f"{what} met a name it does not know: the build is of another version")
    if answer:
        raise ModelError(f"{what} was given a number out of range: a bug in the engine")
