"""Every manifest of examples/ is admitted as it stands, by a real kube-apiserver."""

from pathlib import Path

import pytest

from e2e.cluster.api_only import ApiServer

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_applied_with_strict_field_validation(api: ApiServer, example: Path) -> None:
    api.kubectl("apply", "--server-side", "--validate=strict", "--dry-run=server", f"--filename={example}")


def test_there_are_examples() -> None:
    assert EXAMPLES
