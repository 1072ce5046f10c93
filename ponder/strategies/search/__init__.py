"""Search over steps: trees whose nodes are prefixes of an answer, grown by a policy and steered by
a step verifier.

A method is a frozen value that asks for expansions and is told what grew (`method.py`); its
progress is another value (`tree.py`). Branches, verifiers and time are the grower's (`growing.py`).
"""
