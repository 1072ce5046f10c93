"""What computes a step: the seam (`api.py`), the torch path, the native path, and which is used
(`choice.py`). Knows works and tensors; nothing of branches or jobs.
"""
