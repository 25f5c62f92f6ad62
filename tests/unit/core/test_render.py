"""The pod template, rule by rule."""

import pytest

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core import names
from modelfleet.core.render.overlay import merge
from modelfleet.core.render.pod import render_template
from modelfleet.core.world import RenderSettings
from tests.unit.core.cluster import IMAGES, words


def template(**changes):
    spec = LLMDeploymentSpec.model_validate(words(**changes))
    return render_template(name="chat", revision="0" * 10, spec=spec, settings=RenderSettings(engine_images=IMAGES))


def engine(**changes):
    return template(**changes)["spec"]["containers"][0]


def env(**changes):
    return {e["name"]: e.get("value") for e in engine(**changes)["env"]}


def test_devices_are_limits_and_requests_alike():
    resources = engine(parallelism={"tensor": 2}, resources={"requests": {"cpu": "4"}, "limits": {"memory": "8Gi"}})[
        "resources"
    ]
    assert resources == {
        "requests": {"cpu": "4", "nvidia.com/gpu": "2"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"},
    }


def test_a_product_pins_to_its_nodes():
    spec = template(accelerator={"product": "NVIDIA-H100-80GB-HBM3"})["spec"]
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_without_an_accelerator_nothing_is_pinned():
    spec = template(accelerator={"resource": "none"})["spec"]
    assert "nodeSelector" not in spec
    assert "tolerations" not in spec
    assert spec["containers"][0]["resources"] == {}
    assert spec["containers"][0]["image"] == "vllm:cpu"


def test_a_replica_has_no_more_rights_than_it_needs():
    spec = template()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


def test_shared_memory_is_as_large_as_the_pod_may_be():
    # The engine's processes talk through it; the runtime's default of 64 MiB ends tensor parallelism with a bus error.
    spec = template(parallelism={"tensor": 2})["spec"]
    (shm,) = [volume for volume in spec["volumes"] if volume["name"] == "shm"]
    assert shm == {"name": "shm", "emptyDir": {"medium": "Memory"}}
    (mount,) = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "shm"]
    assert mount == {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 - where POSIX has it


def test_the_supervisor_answers_the_probes():
    container = engine()
    assert container["readinessProbe"]["httpGet"] == {"path": "/modelfleet/ready", "port": 8001}
    assert container["startupProbe"]["httpGet"] == {"path": "/modelfleet/ready", "port": 8001}
    assert container["livenessProbe"]["httpGet"] == {"path": "/modelfleet/live", "port": 8001}
    assert "command" not in container


def test_a_stock_image_is_probed_by_its_own_health():
    container = engine(engine={"image": "vllm/vllm-openai:v1"})
    assert container["command"] == ["vllm"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": 8000}
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_grace_period_covers_the_whole_drain():
    rendered = template(drain={"timeoutSeconds": 60})["spec"]
    container = rendered["containers"][0]
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert rendered["terminationGracePeriodSeconds"] > sleep + 60
    args = container["args"]
    assert args[args.index("--shutdown-timeout") + 1] == "60"


def test_the_command_line_names_the_model_and_ends_with_the_users_words():
    args = engine(
        model={"uri": "hf://org/m", "revision": "abc", "servedName": "big"},
        parallelism={"tensor": 4},
        engine={"args": ["--max-model-len=8192"]},
    )["args"]
    assert args[:4] == ["serve", "org/m", "--served-model-name", "big"]
    assert args[args.index("--revision") + 1] == "abc"
    assert args[args.index("--tensor-parallel-size") + 1] == "4"
    assert args[-1] == "--max-model-len=8192"


@pytest.mark.parametrize(
    ("uri", "told"), [("pvc://claim/a/b", "/models/a/b"), ("pvc://claim", "/models"), ("file:///opt/m", "/opt/m")]
)
def test_a_local_model_is_a_path_and_the_hub_is_not_asked(uri, told):
    assert engine(model={"uri": uri})["args"][1] == told
    assert env(model={"uri": uri})["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in env()


def test_a_claim_is_mounted_read_only():
    spec = template(model={"uri": "pvc://claim/m"})["spec"]
    assert {"name": "model", "persistentVolumeClaim": {"claimName": "claim", "readOnly": True}} in spec["volumes"]
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in spec["containers"][0]["volumeMounts"]


def test_a_secret_is_referred_to_and_never_read():
    container = engine(model={"uri": "hf://a/b", "secretRef": {"name": "hf-token"}})
    assert container["envFrom"] == [{"secretRef": {"name": "hf-token"}}]


def test_the_users_environment_wins():
    assert env(engine={"env": [{"name": "HOME", "value": "/home"}, {"name": "X", "value": "1"}]})["HOME"] == "/home"


def test_labels_select_and_annotations_scrape():
    metadata = template()["metadata"]
    assert metadata["labels"] == {**names.owned_labels(name="chat", revision="0" * 10), names.ROTATION: "in"}
    assert metadata["annotations"]["prometheus.io/port"] == "8000"


def test_the_overlay_has_the_last_word():
    rendered = template(
        template={
            "metadata": {"labels": {"team": "a"}},
            "spec": {
                "priorityClassName": "high",
                "containers": [{"name": "engine", "env": [{"name": "X", "value": "1"}]}, {"name": "side"}],
            },
        }
    )
    assert rendered["metadata"]["labels"]["team"] == "a"
    assert rendered["metadata"]["labels"][names.ROTATION] == "in"
    assert rendered["spec"]["priorityClassName"] == "high"
    first, second = rendered["spec"]["containers"]
    assert first["image"] == "vllm:gpu"
    assert {"name": "X", "value": "1"} in first["env"]
    assert second == {"name": "side"}


def test_ports_merge_by_port_and_protocol():
    base = [{"containerPort": 8000, "protocol": "TCP", "name": "http"}]
    assert merge(base, [{"containerPort": 8000, "hostPort": 1}], field="ports") == [base[0] | {"hostPort": 1}]
    assert len(merge(base, [{"containerPort": 8000, "protocol": "UDP"}], field="ports")) == 2
