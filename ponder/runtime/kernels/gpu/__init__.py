"""The GPU's kernels, in Triton. They also run on CPU tensors, in Triton's interpreter
(TRITON_INTERPRET=1 before the first import), which is how the tests hold them to the reference.

The order of every sum is fixed by shapes that a row brings itself: its own places in attention, the
weights in matrix products. Who else is in a batch decides only which program does which part.
"""
