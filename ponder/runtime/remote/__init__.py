"""Models behind OpenAI-compatible endpoints, through the official client. What an endpoint can do
is probed, never guessed from its address.
"""
