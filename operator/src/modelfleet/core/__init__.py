"""Decisions as pure functions over frozen data. Nothing in here may do I/O, read a clock, draw randomness or log."""
