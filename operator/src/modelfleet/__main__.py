"""`python -m modelfleet`."""

from modelfleet.cli.main import main

main()
