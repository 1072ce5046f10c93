"""What a text must be, as scores of texts that go on and of whole ones."""
