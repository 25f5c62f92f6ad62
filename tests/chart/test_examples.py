"""The examples: each is read by the same models that the operator reads with."""

import pytest
import yaml

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from tests.chart.helm import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_valid_llmdeployment_that_explains_itself(path):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    assert documents
    assert path.read_text().startswith("# ")
    models = [document for document in documents if document["kind"] == "LLMDeployment"]
    assert models
    for document in models:
        assert document["apiVersion"] == "modelfleet.dev/v1alpha1"
        spec = LLMDeploymentSpec.model_validate(document["spec"])
        assert (spec.replicas is None) != (spec.scaling is None)


def test_the_demo_shows_what_it_promises():
    (document,) = yaml.safe_load_all((ROOT / "examples" / "smollm2.yaml").read_text())
    spec = LLMDeploymentSpec.model_validate(document["spec"])
    assert spec.model.uri == "pvc://smollm2/smollm2"
    assert spec.devices_per_replica == 1
    assert spec.scaling is not None
    assert (spec.scaling.min_replicas, spec.scaling.max_replicas) == (1, 3)
    assert [metric.type for metric in spec.scaling.metrics] == ["QueueDepth"]
