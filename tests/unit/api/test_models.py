from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.api.v1alpha1.status import Decision, LLMDeploymentStatus


def test_only_the_model_is_needed_and_the_rest_has_the_documented_defaults() -> None:
    spec = LLMDeploymentSpec.model_validate({"model": {"uri": "hf://org/name"}, "replicas": 2})
    assert (spec.replicas, spec.scaling, spec.suspend) == (2, None, False)
    assert (spec.engine.type, spec.engine.image, spec.engine.args) == ("vLLM", "", ())
    assert (spec.rollout.max_surge, spec.rollout.max_unavailable, spec.rollout.capacity) == (1, 0, "Auto")
    assert (spec.rollout.progress_deadline_seconds, spec.rollout.capacity_timeout_seconds) == (1800, 300)
    assert (spec.rollout.revision_history_limit, spec.drain.timeout_seconds) == (5, 120)


def test_scaling_is_read_under_its_api_names() -> None:
    spec = LLMDeploymentSpec.model_validate(
        {
            "model": {"uri": "hf://org/name"},
            "scaling": {
                "maxReplicas": 8,
                "metrics": [{"type": "InFlight", "target": 40}],
                "behavior": {"scaleDown": {"stabilizationSeconds": 60}},
            },
        }
    )
    assert spec.scaling is not None
    assert (spec.scaling.min_replicas, spec.scaling.max_replicas, spec.scaling.mode) == (1, 8, "Auto")
    assert spec.scaling.behavior.scale_down.stabilization_seconds == 60
    assert spec.scaling.metrics[0].target == 40


@pytest.mark.parametrize(
    ("accelerator", "tensor", "devices"),
    [({}, 1, 1), ({}, 4, 4), ({"count": 8}, 4, 8), ({"resource": "none"}, 2, 0)],
)
def test_devices_per_replica(accelerator: dict[str, object], tensor: int, devices: int) -> None:
    spec = LLMDeploymentSpec.model_validate(
        {"model": {"uri": "hf://org/name"}, "accelerator": accelerator, "parallelism": {"tensor": tensor}}
    )
    assert spec.devices_per_replica == devices


def test_a_misspelt_field_is_an_error_that_names_it() -> None:
    with pytest.raises(ValidationError, match=r"model\.servdName"):
        LLMDeploymentSpec.model_validate({"model": {"uri": "hf://org/name", "servdName": "x"}})


def test_models_cannot_be_changed() -> None:
    spec = LLMDeploymentSpec.model_validate({"model": {"uri": "hf://org/name"}})
    with pytest.raises(ValidationError, match="frozen"):
        spec.suspend = True  # type: ignore[misc]


def test_status_goes_out_and_comes_back_the_same() -> None:
    berlin = datetime(2026, 5, 1, 10, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    status = LLMDeploymentStatus(
        ready_replicas=1, decisions=(Decision(time=berlin, kind="Scale", from_="1", to="2", reason="QueueDepth"),)
    )
    written = status.manifest()
    assert written["readyReplicas"] == 1
    assert written["decisions"] == [
        {"time": "2026-05-01T08:00:00Z", "kind": "Scale", "from": "1", "to": "2", "reason": "QueueDepth", "message": ""}
    ]
    assert LLMDeploymentStatus.model_validate(written).manifest() == written


def test_a_newer_operators_status_is_read() -> None:
    assert LLMDeploymentStatus.model_validate({"phase": "Ready", "weights": [1]}).phase == "Ready"
