"""Entry point: settings in, exit code out."""

from __future__ import annotations

import asyncio
import os
import sys

from modelfleet_supervisor.settings import Settings
from modelfleet_supervisor.supervisor import Supervisor


def main() -> int:
    """Run the engine named by the environment with this process's arguments.

    Returns:
        0 after a drain, otherwise what ended the engine (never 0).
    """
    try:
        settings = Settings.read(arguments=sys.argv[1:], environ=os.environ)
    except ValueError as error:
        print(f"modelfleet-supervise: {error}", file=sys.stderr)
        return 2

    async def run() -> int:
        return await Supervisor(settings=settings).run()

    code = asyncio.run(run())
    # A thread may still wait for an answer of an engine that is gone: do not wait for the thread.
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
