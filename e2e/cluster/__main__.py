"""Lets the cluster be used as a program: `python -m e2e.cluster up | down | status | build`."""

from __future__ import annotations

from e2e.cluster.cli import main

if __name__ == "__main__":
    main()
