"""Inference as probability: populations of weighted samples of a target measure.

`cloud.py` is the algebra, on plain values: weigh, resample, estimate. What proposes is elsewhere:
steps of a reasoner (`populations.py`, on the search core).
"""
