"""Reward models behind an endpoint, as engines that only read. See `engine.py`."""
