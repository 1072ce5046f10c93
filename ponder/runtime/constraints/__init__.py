"""Texts that must fit a grammar: which tokens may come next, by llguidance."""
