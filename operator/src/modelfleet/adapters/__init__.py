"""The world outside, each part behind a Protocol of `ports.py`. Adapters must not decide anything."""
