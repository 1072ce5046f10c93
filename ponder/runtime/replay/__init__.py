"""Calls of an engine kept in a file, and served again without the engine."""
