"""Texts that must fit a grammar: which tokens may come next (llguidance; the `constraints` extra)."""
