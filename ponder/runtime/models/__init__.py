"""From the name of a model to weights and a tokenizer in memory, and the decoders that run them."""
