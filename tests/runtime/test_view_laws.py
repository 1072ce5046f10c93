"""Random programs of open, fork, extend, append, rewind, splice, join, share, pin and close, with a
pool so small that KV is taken and computed again: whatever happens, each branch is what the dense
model says, no page is lost, and the counters agree.
"""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from programs import Op, Program, programs

from ponder.runtime.kernels import native

RUNS = int(os.environ.get("PONDER_LAWS", "60"))
KERNELS = ["torch", *(["native"] if native.instruction_sets() else [])]


@pytest.mark.timeout(600 + RUNS)
@pytest.mark.parametrize("kernels", KERNELS)
@settings(
    max_examples=RUNS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(ops=programs)
def test_programs(kernels: str, ops: list[Op]) -> None:
    asyncio.run(Program(kernels).run(ops))
