"""Strategies and engines behind OpenAI's HTTP interface, for any program that speaks it.

`app.py` is the door; a request becomes events (`events.py`), and events become one reply or a
stream of pieces. Everything heavy (fastapi, uvicorn, prometheus_client) is imported when a server
is made.
"""
