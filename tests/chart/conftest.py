"""One real API server for the tests of this folder that install the chart; it counts every request."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from e2e.cluster.api_only import ApiServer
from tests.chart.helm import NAMESPACE, helm_program


@pytest.fixture(scope="session")
def api() -> Iterator[ApiServer]:
    with ApiServer(audit=True) as server:
        yield server


@pytest.fixture
def helm(api, tmp_path) -> Callable[..., str]:
    """Runs helm as administrator in the release's namespace."""

    def run(*arguments: str) -> str:
        argv = [str(helm_program()), "--kubeconfig", str(api.kubeconfig), "--namespace", NAMESPACE, *arguments]
        # HOME: nothing of the person's own helm, and nothing left behind
        env = {**os.environ, "HOME": str(tmp_path)}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
