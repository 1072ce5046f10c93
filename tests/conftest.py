"""Triton's kernels are interpreted where there is no GPU; Triton reads this when it is imported."""

import os
from importlib.util import find_spec

if find_spec("torch"):
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"
