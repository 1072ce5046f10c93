"""Texts that must fit potentials, drawn token by token with unbiased weights."""
