"""A token that somebody outside picks: the engine shows the logits, and takes what was picked.

Showing computes the newest token's row in the branch's own view, as a step of a decode does, and
keeps it while the caller thinks; so a token picked costs one row, as a token drawn does.
"""

from __future__ import annotations

from functools import partial

from ponder.runtime.engine.core import Core
from ponder.runtime.engine.handle import Handle
from ponder.runtime.engine.jobs import Showing
from ponder.runtime.picking import FULL, Choose, picked
from ponder.runtime.values import Segment


async def choice(lane: Handle, core: Core, choose: Choose) -> Segment:
    """Show the lane's next token to `choose`, and add what it picks; the lane is as before where
    that fails.

    Raises:
        BranchClosed: the branch was closed meanwhile.
        ModelError: the logits are not finite.
        InputError: no token of the model's was picked.
    """
    job, taken = Showing(), False
    lane.begin(partial(core.start, lane.ident, job), job)
    try:
        await job.finished()
        if job.row is None:  # what it sees of others takes its last position
            return FULL
        token = await choose(job.row)
        lane.check_open()
        tokenizer = lane.host.tokenizer
        segment = picked(token, job.row, tokenizer.end_tokens, tokenizer.decode)
        lane.post(core.pick, segment.tokens)
        taken = True
    finally:
        job.end()
        lane.ended()
        if not taken:
            lane.post(core.settle)
    return segment
