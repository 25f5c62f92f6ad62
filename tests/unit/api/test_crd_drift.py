from pathlib import Path

from modelfleet.api.crd import text

FILE = Path(__file__).parents[3] / "crds" / "modelfleet.dev_llmdeployments.yaml"


def test_the_crd_file_is_what_the_models_say() -> None:
    assert FILE.read_text() == text(), f"run: python -m modelfleet.api.crd > crds/{FILE.name}"
