"""Triton's language, for kernels. It has no types, so to checkers all of it is `Any`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Data = Any
    """A kernel's argument: a pointer, a tensor or a number."""
    constexpr = Any
    """A kernel's argument that it is compiled for."""
    tl: Any

    def jit(*, do_not_specialize: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Any]:
        """Compile (or interpret) a kernel; it is launched as `kernel[grid](...)`."""
        ...
else:
    from triton import jit
    from triton import language as tl
    from triton.language import constexpr

    # A kernel may name only what belongs to Triton, in its signature too.
    from triton.language import tensor as Data

__all__ = ["Data", "constexpr", "jit", "tl"]
