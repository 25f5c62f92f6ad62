"""Real API servers for the tests of this folder, one per run: start-up costs seconds, so tests keep to own names.

With KUBECONFIG set it is that cluster; tests that need to break or count things take `api_server`, which never is.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.cluster.api_only import ApiServer
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.external import External, configured
from e2e.cluster.paths import CRD_DIR


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[ApiServer | External]:
    """The cluster that KUBECONFIG names, or level 1; with our CRDs."""
    kubeconfig = configured()
    if kubeconfig is None:
        yield request.getfixturevalue("api_server")
        return
    with External(kubeconfig=kubeconfig) as cluster:
        cluster.apply_files(CRD_DIR)
        yield cluster


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """Level 1½ with our CRDs: Deployments make pods, which faked nodes with GPUs mark ready."""
    with ControlPlane(audit=True) as plane:
        plane.apply_files(CRD_DIR)
        yield plane
