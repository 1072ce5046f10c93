"""Attention kernels and whatever else is worth computing close to the machine."""
