"""How images get to a cluster that is not ours: what is chosen, what is run, and what is said when there is no way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from e2e import fleet, image_delivery, images, models
from e2e.image_delivery import DeliveryError, Way, choose, commands, name_there
from tests.chart.helm import RELEASE, only, render

IMAGE = images.Image(
    name="registry.local/modelfleet/operator:dev", archive=Path("/cache/operator-0123.tar"), key="0123456789abcdef"
)
REGISTRY = "registry.example.org:5000/team"


def test_a_registry_that_is_named_wins_over_kind():
    way = choose(environ={"IMAGE_REGISTRY": REGISTRY}, context="kind-dev", kind_found=True)
    assert way == Way(registry=REGISTRY)


def test_a_registry_is_pushed_to_under_a_tag_of_the_content():
    way = Way(registry=REGISTRY)
    there = "registry.example.org:5000/team/modelfleet/operator:0123456789abcdef"
    assert name_there(IMAGE, way=way) == there
    (push,) = commands(IMAGE, way=way)
    assert push[0] == "buildah"
    assert push[-2:] == [IMAGE.name, f"docker://{there}"]


def test_what_was_exported_is_what_is_pushed(tmp_path):
    """The store may hold a newer build under the same name."""
    archive = tmp_path / "operator-0123.tar"
    archive.touch()
    pull, push = commands(replace(IMAGE, archive=archive), way=Way(registry=REGISTRY))
    assert pull[-2:] == ["--quiet", f"docker-archive:{archive}"]
    assert push[-2] == IMAGE.name


def test_kind_gets_the_archive_and_the_name_stays():
    way = choose(environ={}, context="kind-my-cluster", kind_found=True)
    assert commands(IMAGE, way=way) == [
        ["kind", "load", "image-archive", "/cache/operator-0123.tar", "--name", "my-cluster"]
    ]
    assert name_there(IMAGE, way=way) == IMAGE.name


@pytest.mark.parametrize(("context", "kind_found"), [("prod", True), ("prod", False), ("kind-dev", False), ("", False)])
def test_without_a_way_the_error_says_what_to_set(context, kind_found):
    with pytest.raises(DeliveryError, match="set IMAGE_REGISTRY to a registry that you may push to") as caught:
        choose(environ={}, context=context, kind_found=kind_found)
    assert ("install `kind`" in str(caught.value)) == context.startswith("kind-")


@pytest.mark.parametrize("value", ["https://registry.example.org", "registry one"])
def test_a_registry_with_a_scheme_is_refused(value):
    with pytest.raises(DeliveryError, match="without a scheme"):
        choose(environ={"IMAGE_REGISTRY": value}, context="prod", kind_found=True)


def test_deliver_runs_the_commands_and_tells_the_name(monkeypatch, tmp_path):
    """The program is a stand-in that writes down how it was called."""
    said = program(tmp_path, "kind", 'echo "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert image_delivery.deliver(IMAGE, way=Way(kind="dev")) == IMAGE.name
    assert said.read_text().split() == ["load", "image-archive", str(IMAGE.archive), "--name", "dev"]


def test_a_kind_cluster_gets_all_that_the_chart_runs_and_the_models_in_the_engines_image(monkeypatch, tmp_path):
    said = program(tmp_path, "kind", 'echo "$@"')
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump({"current-context": "kind-dev"}))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.delenv("IMAGE_REGISTRY", raising=False)
    for name in ("_built", "_delivered"):
        monkeypatch.setattr(fleet, name, {})
    exported = []

    def build(recipe, *, export):
        short = recipe.name.rsplit("/", 1)[-1].replace(":", "-")
        if export:
            exported.append(short)
        return images.Image(name=recipe.name, archive=tmp_path / f"{short}.tar", key="01")

    monkeypatch.setattr(images, "build", build)
    with_models = images.Recipe(name="r/vllm-cpu-models:dev", context="/models", dockerfile="Dockerfile", inputs=())
    monkeypatch.setattr(
        models, "in_image", lambda *, image: with_models if image.name == images.VLLM_CPU.name else None
    )

    fleet.load_images(say=lambda _: None)

    loaded = ["operator-dev", "vllm-cpu-models-dev", "envoy-dev"]
    calls = [f"load image-archive {tmp_path / name}.tar --name dev" for name in loaded]
    assert said.read_text().splitlines() == calls
    assert exported == loaded, "the engine without models is gigabytes that nobody asks for"
    assert fleet.name_there(images.VLLM_CPU) == with_models.name
    assert fleet.model_uri("tiny") == "file:///models/tiny"


def test_a_push_that_fails_is_told_with_the_programs_words(monkeypatch, tmp_path):
    program(tmp_path, "buildah", 'echo "unauthorized: log in first" >&2; exit 125')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DeliveryError, match="unauthorized: log in first; check IMAGE_REGISTRY"):
        image_delivery.deliver(IMAGE, way=Way(registry=REGISTRY))


def test_the_chart_asks_for_the_names_that_were_delivered():
    operator = name_there(IMAGE, way=Way(registry=REGISTRY))
    manifests = render(**image_delivery.chart_values(operator=operator, engine="r/vllm:1"))
    deployment = only(manifests, "Deployment", RELEASE)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == operator
    told = next(entry["value"] for entry in container["env"] if entry["name"] == "MODELFLEET_ENGINE_IMAGES")
    assert "r/vllm:1" in told


def program(folder, name, script):
    """A program of this name; what it prints is in the file that is returned."""
    said = folder / f"{name}.said"
    path = folder / name
    path.write_text(f"#!/bin/sh\nexec >> {said}\n{script}\n")
    path.chmod(0o755)
    return said
