"""The engine that Ponder owns: paged KV, views, a prefix tree and continuous batching."""
