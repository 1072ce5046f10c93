"""What rounding weights costs, on the embedded model or another: perplexity of a fixed text, how
often the likeliest token is the reference's, the largest difference of a logit, and answers to word
problems, greedy, one attempt each.

The text is solutions of GSM8K's training problems where `--text` gives the file (JSON lines with
`question` and `answer`), else word problems made by rule, which go with the project. The reference
of logits is float32, and that of answers bfloat16, with a sign test over the problems on which only
one of the two is right. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from ponder.evals import word_problems
from ponder.runtime import BranchPath, Sampling
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models import LoadedModel, load_model
from ponder.runtime.runners.api import PAGE, Work
from ponder.runtime.runners.choice import WeightFormat, choose_runner
