"""The operator as a local process against a test cluster: started, stopped and killed by the test that made it.

It must not know what a test asserts.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from e2e.cluster.process import free_ports, wait_until

IMAGES = {"vLLM": {"gpu": "registry.local/modelfleet/vllm-gpu:dev", "cpu": "registry.local/modelfleet/vllm-cpu:dev"}}


_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Given to httpx, which would else read every CA certificate for each question: 30 ms of CPU, many times a second."""


def ask(port: int, path: str, *, seconds: float = 30) -> httpx.Response:
    """Ask a process on loopback, over plain HTTP."""
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=seconds, verify=_PLAIN, trust_env=False)


START_SECONDS = 120.0
"""Its imports alone take many seconds where other work has the cores."""
STOP_SECONDS = 60.0


class OperatorProcess:
    """`modelfleet operator` with a kubeconfig.

    Attributes:
        log: Its structured log, one JSON object a line.
        port: Of /metrics, /healthz and /readyz.
    """

    def __init__(self, *, kubeconfig: Path, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._kubeconfig, self._settings = kubeconfig, dict(settings or {})
        (self.port,) = free_ports(1)
        self.log = folder / f"operator-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id; only while it runs."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and returns when it is ready."""
        self.launch()
        try:
            wait_until(self.ready, seconds=START_SECONDS, what=f"the operator to be ready (log: {self.log})")
        except BaseException:
            self.kill()  # nobody else would: its context was never entered
            raise

    def launch(self) -> None:
        """Starts it and returns at once."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "MODELFLEET_NAMESPACE": "default",
            "MODELFLEET_METRICS_PORT": str(self.port),
            "MODELFLEET_LEASE_SECONDS": "20",  # a short one is lost on a busy machine, and nobody starts it again
            "MODELFLEET_ENGINE_IMAGES": json.dumps(IMAGES),
            **self._settings,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modelfleet", "operator"], env=environment, stderr=log, stdout=log
            )

    def ready(self) -> bool:
        """Whether /readyz says so."""
        return self.readiness() == "ok"

    def readiness(self) -> str:
        """What /readyz says; nothing while nobody answers."""
        assert self._process is not None, "not started"
        if self._process.poll() is not None:
            raise AssertionError(f"the operator ended with {self._process.returncode}:\n{self.log.read_text()[-2000:]}")
        try:
            return ask(self.port, "/readyz", seconds=1).text
        except httpx.HTTPError:
            return ""

    def metrics(self) -> str:
        """The text of /metrics."""
        return ask(self.port, "/metrics").text

    def events(self) -> list[dict[str, Any]]:
        """Everything that it logged; a line that is no JSON object with a level and an event fails."""
        events = [json.loads(line) for line in self.log.read_text().splitlines()]
        assert all({"level", "event"} <= event.keys() for event in events), events
        return events

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait()

    def wait(self, *, seconds: float = STOP_SECONDS) -> int:
        """Waits for its end; returns the exit status."""
        assert self._process is not None, "not started"
        return self._process.wait(timeout=seconds)

    def stop(self) -> None:
        """Ends it as Kubernetes would."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
