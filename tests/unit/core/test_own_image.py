"""An engine image of the user's own: run as stock vLLM, unless the template says that the supervisor is in it."""

import re
from pathlib import Path

import yaml

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.core.render.pod import render_template
from modelfleet.core.world import RenderSettings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "bring-a-model.md"
SETTINGS = RenderSettings(engine_images={"vLLM": {"gpu": "vllm:gpu", "cpu": "vllm:cpu"}})


def container(spec):
    parsed = LLMDeploymentSpec.model_validate(spec)
    template = render_template(name="chat", revision="r", spec=parsed, settings=SETTINGS)
    return template["spec"]["containers"][0]


def example(about):
    """The page's manifest that says this."""
    manifests = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = (text for text in manifests if about in text)
    return yaml.safe_load(found)["spec"]


def test_an_image_of_ones_own_is_run_as_stock_vllm():
    engine = container(example("qwen3-8b-vllm:1"))
    assert engine["command"] == ["vllm"]
    assert engine["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}


def test_one_built_on_the_runtime_image_is_probed_as_the_runtime_image_is():
    spec = example("built on the runtime image")
    own = container(spec)
    ours = container({**spec, "engine": {}, "template": None})
    assert own.pop("command") == ["modelfleet-supervise"]
    assert own.pop("image") == spec["engine"]["image"]
    ours.pop("image")
    assert own == ours
