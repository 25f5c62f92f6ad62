"""The bench of reconciling, on the smallest fleet: it ends, and its last line has every figure that the docs tell."""

import json
import subprocess
import sys

import pytest

from e2e.cluster.paths import REPOSITORY

pytestmark = pytest.mark.slow

FIGURES = {
    "apply_p50_ms",
    "apply_p99_ms",
    "converge_2_s",
    "rss_mib",
    "cpu_s",
    "writes_per_object",
    "noop_writes",
    "restart_writes",
    "idle_writes_per_min",
    "lease_writes_per_min",
    "idle_cpu_ratio",
}


def test_the_bench_of_reconciling_tells_its_figures_as_json() -> None:
    argv = [sys.executable, "-m", "bench.reconcile", "--fleet", "2", "--singles", "2", "--idle-seconds", "2"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=540)
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures) >= FIGURES, "missing figures"
    assert (figures["noop_writes"], figures["restart_writes"]) == (0, 0), "an operator writes though nothing changed"
