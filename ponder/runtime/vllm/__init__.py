"""vLLM in this process: branches are journals of tokens, and its prefix cache keeps their KV."""
