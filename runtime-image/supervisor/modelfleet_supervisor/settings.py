"""What the supervisor is told, read once from arguments and environment.

Sits below everything else in the package; it must not start, read or wait for anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PREFIX = "MODELFLEET_"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set; times are in seconds."""

    command: tuple[str, ...]
    """The engine's program and all its arguments."""
    engine_url: str = "http://127.0.0.1:8000"
    """Where the engine answers."""
    port: int = 8001
    """Where readiness and liveness are served, on all addresses."""
    start_deadline: float = 1800
    """From start to the first generated token; after it the engine is ended (a start in ninety never answers)."""
    drain_timeout: float = 120
    """How long requests in flight may take after SIGTERM. The engine gets the same by its own flag."""
    drain_margin: float = 5
    """What the engine may need after its last request to leave by itself (vLLM: 2.6 s)."""
    loading_grace: float = 3
    """From SIGINT to SIGKILL while no request can be in flight."""
    poll_interval: float = 0.5
    """Between attempts to generate the first token."""
    watch_interval: float = 5
    """Between two looks at the engine's metrics."""
    hang_after: float = 60
    """Requests running and no token for this long: suspicion, so one token is asked for."""
    idle_probe_after: float = 300
    """Nothing at all for this long: one token is asked for, because a hung engine reports itself idle."""
    probe_timeout: float = 60
    """How long that one token may take."""
    termination_log: Path = Path("/dev/termination-log")
    """Where the reason of a failure goes; Kubernetes copies it into the pod's status."""
    api_key: str | None = None
    """The key that the engine asks for, from the engine's own variable."""

    @classmethod
    def read(cls, *, arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
        """Read the settings.

        Args:
            arguments: the engine's arguments, for example `["serve", "/models/a", "--port", "8000"]`.
            environ: variables `MODELFLEET_*`, and the engine's `VLLM_API_KEY`.

        Raises:
            ValueError: a variable is not a number; the message names it.

        >>> Settings.read(arguments=["serve", "/m"], environ={}).command
        ('vllm', 'serve', '/m')
        """

        def text(name: str, default: str) -> str:
            return environ.get(PREFIX + name) or default

        def number(name: str, default: float) -> float:
            value = text(name, str(default))
            try:
                return float(value)
            except ValueError as error:
                raise ValueError(f"{PREFIX}{name} is {value!r}: set it to a number") from error

        return cls(
            command=(*shlex.split(text("ENGINE_COMMAND", "vllm")), *arguments),
            engine_url=text("ENGINE_URL", cls.engine_url).rstrip("/"),
            port=int(number("SUPERVISOR_PORT", cls.port)),
            start_deadline=number("START_DEADLINE_SECONDS", cls.start_deadline),
            drain_timeout=number("DRAIN_TIMEOUT_SECONDS", cls.drain_timeout),
            drain_margin=number("DRAIN_MARGIN_SECONDS", cls.drain_margin),
            loading_grace=number("LOADING_GRACE_SECONDS", cls.loading_grace),
            poll_interval=number("POLL_INTERVAL_SECONDS", cls.poll_interval),
            watch_interval=number("WATCH_INTERVAL_SECONDS", cls.watch_interval),
            hang_after=number("HANG_AFTER_SECONDS", cls.hang_after),
            idle_probe_after=number("IDLE_PROBE_AFTER_SECONDS", cls.idle_probe_after),
            probe_timeout=number("PROBE_TIMEOUT_SECONDS", cls.probe_timeout),
            termination_log=Path(text("TERMINATION_LOG", str(cls.termination_log))),
            api_key=environ.get("VLLM_API_KEY") or None,
        )
