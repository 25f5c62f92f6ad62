"""`spec.rollout` on a real kube-apiserver: what is admitted, what is refused and with which words."""

from typing import Any

import pytest

from e2e.cluster.api_only import ApiServer
from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from tests.api.test_llmdeployment_crd import create, spec


def rollout(strategy: str = "Canary", **words: Any) -> dict[str, Any]:
    return spec(rollout={"strategy": strategy, **words})


def steps(*found: dict[str, Any]) -> dict[str, Any]:
    return rollout(canary={"steps": list(found)})


def metric(**words: Any) -> dict[str, Any]:
    return rollout(analysis={"metrics": [words]})


ADMITTED = {
    "a canary by default": rollout(),
    "everything of a canary": rollout(
        canary={
            "replicas": 2,
            "steps": [{"weight": 5, "minSeconds": 0}, {"pause": {}}, {"weight": 25}, {"pause": {"seconds": 60}}],
            "mirror": {"percent": 10, "minSeconds": 300},
        },
        analysis={
            "intervalSeconds": 15,
            "minSamples": 50,
            "minSeconds": 300,
            "warmupSeconds": 120,
            "metrics": [
                {"name": "ttft", "within": 1, "minRatio": 0.95, "maxDropFromStable": 0.05},
                {"name": "errors", "maxRatio": 0.01},
                {"name": "queue", "query": 'max(vllm:num_requests_waiting{namespace="$namespace"})', "max": 20},
            ],
            "evaluation": {"cronJobRef": {"name": "golden"}, "minScore": 0.9, "timeoutSeconds": 1800},
        },
        onFailure="Pause",
        onInconclusive="Continue",
        onNoData="Hold",
        maxHoldSeconds=3600,
        abortScaleDownDelaySeconds=0,
        scaleDownDelaySeconds=0,
        window={"timezone": "Europe/Berlin", "cron": "0 7 * * 1-5", "durationMinutes": 600},
    ),
    "replicas that follow the weight": rollout(canary={"replicas": "Proportional"}),
    "a last step of everything": steps({"weight": 50}, {"weight": 100}),
    "blue-green by limits": rollout(
        "BlueGreen", analysis={"metrics": [{"name": "ttft", "minRatio": 0.9}, {"name": "mine", "query": "1", "max": 1}]}
    ),
    "blue-green": rollout("BlueGreen", blueGreen={"autoPromote": True, "previewReplicas": 1}),
    "recreate": rollout("Recreate"),
}


@pytest.mark.parametrize("body", ADMITTED.values(), ids=ADMITTED.keys())
def test_admitted_as_written_and_understood(api: ApiServer, body: dict[str, Any]) -> None:
    answer = create(api, body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"] == body, "the API server added or removed words of the user's"
    LLMDeploymentSpec.model_validate(answer.json()["spec"])


REFUSED = {
    "a weight over 100": (steps({"weight": 101}), "weight in body should be less than or equal to 100"),
    "a weight of nothing": (steps({"weight": 0}), "weight in body should be greater than or equal to 1"),
    "weights that fall": (steps({"weight": 50}, {"weight": 20}), "weights must rise from step to step"),
    "the same weight twice": (
        steps({"weight": 50}, {"pause": {}}, {"weight": 50}),
        "weights must rise from step to step",
    ),
    "nothing but everything": (steps({"weight": 100}), "add a step with a weight below 100"),
    "nothing but pauses": (steps({"pause": {}}, {"pause": {"seconds": 5}}), "add a step with a weight below 100"),
    "a comparison of blue with green": (
        rollout("BlueGreen", analysis={"metrics": [{"name": "errors", "maxDropFromStable": 0.01}]}),
        "replace maxDropFromStable by an absolute limit",
    ),
    "an empty step": (steps({}), "give a step either a weight or a pause"),
    "a step that is both": (steps({"weight": 5, "pause": {}}), "give a step either a weight or a pause"),
    "no steps": (steps(), "should have at least 1 items"),
    "a pause in the wrong words": (
        steps({"pause": {}, "minSeconds": 5}),
        "minSeconds belongs to a weight; use pause.seconds",
    ),
    "half a word of replicas": (rollout(canary={"replicas": "Half"}), "write Proportional, or a number from 1 to 1000"),
    "a canary of another strategy": (
        rollout("RollingUpdate", canary={}),
        "canary is read with strategy: Canary only; set it or remove canary",
    ),
    "blue-green of another strategy": (
        rollout(blueGreen={}),
        "blueGreen is read with strategy: BlueGreen only; set it or remove blueGreen",
    ),
    "an analysis of what nothing judges": (
        rollout("RollingUpdate", analysis={"evaluation": {"cronJobRef": {"name": "golden"}, "minScore": 0.9}}),
        "analysis is read with strategy Canary or BlueGreen only, and nothing else would be judged",
    ),
    "an analysis of the strategy by default": (
        spec(rollout={"analysis": {"minSamples": 100}}),
        "set one of them or remove analysis",
    ),
    "no gateway": (
        rollout() | {"routing": {"provider": "Service"}},
        "strategy Canary and BlueGreen need a gateway; set routing.provider to Gateway or GatewayAPI",
    ),
    "an unknown metric": (metric(name="latency", maxRatio=0.1), "every other name needs a query"),
    "a query under a built-in name": (metric(name="ttft", query="1", max=1), "built-in metrics are ttft, interToken"),
    "a query without a limit": (metric(name="mine", query="1"), "a query needs min or max"),
    "a limit without a query": (metric(name="ttft", max=1), "a query needs min or max, and only a query takes them"),
    "seconds of an error": (metric(name="errors", within=1), "within is seconds to the first or next token"),
    "the wrong ratio": (metric(name="errors", minRatio=0.9), "minRatio is for ttft and interToken"),
    "the other wrong ratio": (metric(name="ttft", maxRatio=0.9), "maxRatio is for errors and badOutputs"),
    "a percentage": (metric(name="errors", maxRatio=5), "maxRatio in body should be less than 1"),
    "an evaluation of nothing": (rollout(analysis={"evaluation": {"minScore": 1}}), "cronJobRef: Required value"),
    "a window without a time": (rollout(window={"durationMinutes": 5}), "spec.rollout.window.cron: Required value"),
    "a cron of six fields": (
        rollout(window={"cron": "0 0 7 * * 1-5", "durationMinutes": 5}),
        "write five fields: minute hour day month weekday",
    ),
    "a long wait after an abort": (rollout(abortScaleDownDelaySeconds=61), "should be less than or equal to 60"),
    "no data as a pass": (rollout(onNoData="Continue"), 'supported values: "Hold"'),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_a_message_that_says_what_to_do(api: ApiServer, body: dict[str, Any], message: str) -> None:
    answer = create(api, body)
    assert answer.status_code in {400, 422}, f"admitted: {answer.text}"
    assert message in answer.json()["message"]
