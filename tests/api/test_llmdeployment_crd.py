"""The CRD on a real kube-apiserver: what is admitted, what is refused and with which words."""

from itertools import count
from typing import Any

import httpx
import pytest

from e2e.cluster.api_only import ApiServer
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec

COLLECTION = "/apis/modelfleet.dev/v1alpha1/namespaces/default/llmdeployments"
NUMBERS = count()
METRICS = [{"type": "QueueDepth", "target": 5}]


def spec(**changes: Any) -> dict[str, Any]:
    """The smallest spec with changes; None removes a field."""
    merged = {"model": {"uri": "hf://org/name"}, "replicas": 1} | changes
    return {key: value for key, value in merged.items() if value is not None}


def scaling(**changes: Any) -> dict[str, Any]:
    return spec(replicas=None, scaling={"maxReplicas": 3, "metrics": METRICS} | changes)


def create(api: ApiServer, body: dict[str, Any], *, name: str | None = None) -> httpx.Response:
    manifest = {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name or f"crd-{next(NUMBERS)}"},
        "spec": body,
    }
    return api.http.post(COLLECTION, params={"fieldValidation": "Strict"}, json=manifest)


ADMITTED = {
    "the smallest": spec(),
    "no replicas for now": spec(replicas=0),
    "scaling": scaling(),
    "a budget for the smallest fleet": scaling(minReplicas=2, maxGPUs=8) | {"parallelism": {"tensor": 4}},
    "scaling with everything": scaling(
        minReplicas=1,
        maxReplicas=8,
        metrics=[
            {"type": "QueueDepth", "target": 5},
            {"type": "InFlight", "target": 40},
            {"type": "GPUUtilization", "target": 0.8},
        ],
        behavior={"scaleDown": {"stabilizationSeconds": 0}},
        mode="Advise",
    ),
    "everything else": spec(
        model={
            "uri": "hf://Qwen/Qwen3-8B",
            "revision": "b968826d9c46dd6066d109eabc6255188de91218",
            "servedName": "Qwen/Qwen3-8B:chat",
            "secretRef": {"name": "hf-token"},
        },
        engine={
            "type": "vLLM",
            "image": "registry.example/vllm:1",
            "args": ["--max-model-len", "8192", "--api-server-count=1", "--model-impl=auto"],
            "env": [
                {"name": "OMP_NUM_THREADS", "value": "1"},
                {"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
            ],
        },
        parallelism={"tensor": 2},
        accelerator={"resource": "nvidia.com/gpu", "count": 2, "product": "NVIDIA-H100-80GB-HBM3"},
        resources={"requests": {"cpu": 4, "memory": "16Gi"}, "limits": {"memory": "64Gi", "ephemeral-storage": "1e9"}},
        rollout={
            "strategy": "RollingUpdate",
            "maxSurge": 0,
            "maxUnavailable": 1,
            "capacity": "InPlace",
            "progressDeadlineSeconds": 600,
            "capacityTimeoutSeconds": 30,
            "revisionHistoryLimit": 2,
        },
        drain={"timeoutSeconds": 0},
        template={"metadata": {"labels": {"team": "a"}}, "spec": {"priorityClassName": "high", "no-such-field": [1]}},
        suspend=True,
    ),
    "CPU": spec(accelerator={"resource": "none"}),
    "a volume": spec(model={"uri": "pvc://models/smollm2/v1"}),
    "a path in the image": spec(model={"uri": "file:///models/smollm2"}),
    "one by one without naming maxSurge's default": spec(rollout={"maxUnavailable": 0}),
    "a Gateway that is there": spec(
        routing={
            "provider": "GatewayAPI",
            "gatewayAPI": {
                "parentRefs": [{"name": "edge", "namespace": "infra", "sectionName": "https", "port": 443}],
                "hostnames": ["chat.example.com", "*.chat.example.com"],
            },
        }
    ),
}


@pytest.mark.parametrize("body", ADMITTED.values(), ids=ADMITTED.keys())
def test_admitted_as_written_and_understood(api: ApiServer, body: dict[str, Any]) -> None:
    answer = create(api, body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"] == body, "the API server added or removed words of the user's"
    LLMDeploymentSpec.model_validate(answer.json()["spec"])


def gateway_api(**changes: Any) -> dict[str, Any]:
    words = {"parentRefs": [{"name": "edge"}], **changes}
    return {"provider": "GatewayAPI", "gatewayAPI": {k: v for k, v in words.items() if v is not None}}


def arg(*arguments: str) -> dict[str, Any]:
    return spec(engine={"args": list(arguments)})


REFUSED = {
    # what decides the replicas
    "replicas with scaling": (
        scaling() | {"replicas": 1},
        "spec.scaling decides the replicas; remove it to use replicas, kubectl scale or an external HPA",
    ),
    "neither": (spec(replicas=None), "set spec.replicas for a fixed number, or spec.scaling to follow the load"),
    "negative replicas": (spec(replicas=-1), "spec.replicas in body should be greater than or equal to 0"),
    "min above max": (scaling(minReplicas=4), "minReplicas is above maxReplicas; lower it or raise maxReplicas"),
    "scale to zero": (scaling(minReplicas=0), "minReplicas in body should be greater than or equal to 1"),
    "no metric": (scaling(metrics=[]), "spec.scaling.metrics in body should have at least 1 items"),
    "a metric twice": (scaling(metrics=METRICS * 2), 'Duplicate value: {"type":"QueueDepth"}'),
    "unknown metric": (scaling(metrics=[{"type": "CPU", "target": 1}]), 'supported values: "QueueDepth", "InFlight"'),
    "target of nothing": (
        scaling(metrics=[{"type": "InFlight", "target": 0}]),
        "target in body should be greater than 0",
    ),
    "percent for a ratio": (
        scaling(metrics=[{"type": "GPUUtilization", "target": 80}]),
        "GPUUtilization is a ratio; write 0.8 for 80 %",
    ),
    "a budget below one replica": (
        scaling(maxGPUs=1) | {"accelerator": {"count": 2}},
        "scaling.maxGPUs is below the devices of minReplicas replicas; raise it, or lower minReplicas or what one",
    ),
    "a budget below the smallest fleet": (
        scaling(minReplicas=2, maxGPUs=7) | {"parallelism": {"tensor": 4}},
        "scaling.maxGPUs is below the devices of minReplicas replicas",
    ),
    "a budget of nothing": (scaling(maxGPUs=0), "maxGPUs in body should be greater than or equal to 1"),
    "a budget without devices": (
        scaling(maxGPUs=1) | {"accelerator": {"resource": "none"}},
        "resource 'none' means CPU; remove scaling.maxGPUs, which counts devices",
    ),
    "unknown mode": (scaling(mode="Off"), 'supported values: "Auto", "Advise"'),
    # words and units
    "unknown field": (spec(replica=1), 'unknown field "spec.replica"'),
    "a duration with a unit": (
        spec(drain={"timeoutSeconds": "2m"}),
        "spec.drain.timeoutSeconds in body must be of type",
    ),
    "a memory unit that is none": (
        spec(resources={"limits": {"memory": "16GB"}}),
        "write a Kubernetes quantity of zero or more, such as 500m, 4 or 16Gi (16GB is none)",
    ),
    "negative cpu": (spec(resources={"requests": {"cpu": "-1"}}), "write a Kubernetes quantity of zero or more"),
    "devices among the resources": (
        spec(resources={"limits": {"nvidia.com/gpu": 1}}),
        "devices are not written in resources; set accelerator.resource and accelerator.count",
    ),
    # the Gateway API
    "the Gateway API without a Gateway": (
        spec(routing={"provider": "GatewayAPI"}),
        "provider GatewayAPI needs routing.gatewayAPI.parentRefs: name the Gateway that is to route to this model",
    ),
    "no parentRefs": (spec(routing=gateway_api(parentRefs=None)), "spec.routing.gatewayAPI.parentRefs: Required value"),
    "empty parentRefs": (spec(routing=gateway_api(parentRefs=[])), "should have at least 1 items"),
    "a Gateway for another provider": (
        spec(routing={**gateway_api(), "provider": "Service"}),
        "routing.gatewayAPI is for provider GatewayAPI only; set provider: GatewayAPI or remove it",
    ),
    "a Gateway without a provider": (
        spec(routing={"gatewayAPI": {"parentRefs": [{"name": "edge"}]}}),
        "routing.gatewayAPI is for provider GatewayAPI only; set provider: GatewayAPI or remove it",
    ),
    "tenants that nobody would check": (
        spec(routing={**gateway_api(), "allowedTenants": ["team-a"]}),
        "with provider GatewayAPI the Gateway decides who may use the model; remove routing.allowedTenants",
    ),
    "an address as a host name": (spec(routing=gateway_api(hostnames=["http://chat.test"])), "hostnames[0] in body"),
    "more host names than a route takes": (
        spec(routing=gateway_api(hostnames=[f"{n}.test" for n in range(17)])),
        "must have at most 16 items",
    ),
    # the model
    "no model": ({"replicas": 1}, "spec.model: Required value"),
    "a bucket": (spec(model={"uri": "s3://bucket/model"}), "write hf://ORG/NAME, pvc://CLAIM/PATH or file:///PATH"),
    "half a hub name": (spec(model={"uri": "hf://name"}), "write hf://ORG/NAME, pvc://CLAIM/PATH or file:///PATH"),
    "a relative path": (
        spec(model={"uri": "file://models/a"}),
        "write hf://ORG/NAME, pvc://CLAIM/PATH or file:///PATH",
    ),
    "a way out of the folder": (spec(model={"uri": "pvc://models/../x"}), "remove spaces and '..' from the uri"),
    "a revision of a file": (
        spec(model={"uri": "file:///models/a", "revision": "main"}),
        "model.revision names a commit of an hf:// repository; remove it",
    ),
    "a served name with a space": (
        spec(model={"uri": "hf://org/name", "servedName": "my model"}),
        "a served name has letters, digits and . _ / : - only",
    ),
    # the engine
    "unknown engine": (spec(engine={"type": "TGI"}), 'Unsupported value: "TGI": supported values: "vLLM"'),
    "--port": (arg("--port=9000"), "probes, Services and metrics use port 8000"),
    "--host, value apart": (arg("--host", "127.0.0.1"), "probes, Services and metrics use port 8000"),
    "--served-model-name": (arg("--served-model-name=x"), "set spec.model.servedName"),
    "--served_model_name": (arg("--served_model_name=x"), "set spec.model.servedName"),
    "--model": (arg("--enforce-eager", "--model=x"), "set spec.model.uri and spec.model.revision"),
    "--shutdown-timeout": (arg("--shutdown-timeout=1"), "set spec.drain.timeoutSeconds"),
    "--api-key": (arg("--api-key=secret"), "use spec.engine.env with valueFrom.secretKeyRef"),
    "--api-k, completed by the engine": (arg("--api-k=secret"), "use spec.engine.env with valueFrom.secretKeyRef"),
    "--shut, completed by the engine": (arg("--shut=1"), "set spec.drain.timeoutSeconds"),
    "-n with its value": (arg("-n2"), "a replica is one pod; add replicas instead"),
    "--disable-log-stats": (arg("--disable-log-stats"), "it takes away the metrics that scaling and rollouts read"),
    "--api-server-count": (arg("--api-server-count=2"), "more than one API server breaks draining; add replicas"),
    "--tensor-parallel-size": (arg("--tensor-parallel-size=2"), "set spec.parallelism.tensor"),
    "-tp": (arg("-tp", "2"), "set spec.parallelism.tensor"),
    "--pipeline-parallel-size": (arg("--pipeline-parallel-size=2"), "a replica is one pod; add replicas instead"),
    "--ssl-keyfile": (arg("--ssl-keyfile=k"), "plain HTTP at the root"),
    "--config": (arg("--config=c.yaml"), "a file could set flags that ModelFleet owns"),
    "a name of ModelFleet's": (
        spec(engine={"env": [{"name": "MODELFLEET_ENGINE_URL", "value": "x"}]}),
        "names that begin with MODELFLEET_ are set by ModelFleet; remove it",
    ),
    "an open door": (
        spec(engine={"env": [{"name": "VLLM_SERVER_DEV_MODE", "value": "1"}]}),
        "it opens remote calls into the engine",
    ),
    "a secret in the spec": (
        spec(engine={"env": [{"name": "HF_TOKEN", "value": "hf_x"}]}),
        "a secret must not stand in the spec; use valueFrom.secretKeyRef",
    ),
    "value twice": (
        spec(engine={"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}),
        "set value or valueFrom, not both",
    ),
    "value from nowhere": (
        spec(engine={"env": [{"name": "A", "valueFrom": {}}]}),
        "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
    ),
    # devices
    "fewer devices than ranks": (
        spec(parallelism={"tensor": 4}, accelerator={"count": 2}),
        "accelerator.count is below parallelism.tensor; each rank needs a device of its own: raise it or remove it",
    ),
    "a count of nothing": (
        spec(accelerator={"resource": "none", "count": 1}),
        "resource 'none' means CPU; remove count and product, or name a device resource",
    ),
    "a resource without a domain": (
        spec(accelerator={"resource": "gpu"}),
        "name an extended resource such as nvidia.com/gpu, or write none for CPU",
    ),
    # rollout
    "an unknown strategy": (spec(rollout={"strategy": "Shadow"}), 'Unsupported value: "Shadow"'),
    "no way to move": (
        spec(rollout={"maxSurge": 0}),
        "with maxSurge 0 and maxUnavailable 0 no replica could ever be replaced; raise one of them",
    ),
    "surge without surge": (
        spec(rollout={"capacity": "Surge", "maxSurge": 0, "maxUnavailable": 1}),
        "capacity Surge needs maxSurge of 1 or more; raise it or set capacity: Auto",
    ),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_a_message_that_says_what_to_do(api: ApiServer, body: dict[str, Any], message: str) -> None:
    answer = create(api, body)
    assert answer.status_code in {400, 422}, f"admitted: {answer.text}"
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qwen2.5", "metadata.name has a dot, but it becomes the name of a Service"),
        ("n" * 46, "metadata.name is longer than 45 characters"),
        ("7b", "metadata.name begins with a digit"),
    ],
)
def test_a_name_that_no_service_can_have_is_refused(api: ApiServer, name: str, message: str) -> None:
    answer = create(api, spec(), name=name)
    assert answer.status_code == 422
    assert message in answer.json()["message"]


def test_a_name_at_the_limit_is_admitted(api: ApiServer) -> None:
    assert create(api, spec(), name="n" * 45).status_code == 201
