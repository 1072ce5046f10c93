"""Attention and what belongs to it, one implementation a module."""
