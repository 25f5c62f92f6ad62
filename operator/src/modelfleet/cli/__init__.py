"""The command line: thin, and the only layer that speaks to a person."""
