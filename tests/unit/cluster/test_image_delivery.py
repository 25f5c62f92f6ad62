"""How images get to a cluster that is not ours: what is chosen, what is run, and what is said when there is no way."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from e2e import image_delivery, images
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
    pull, push = commands(IMAGE, way=way)
    assert pull[0] == push[0] == "buildah"
    assert pull[-1] == "docker-archive:/cache/operator-0123.tar"
    assert push[-2:] == [IMAGE.name, f"docker://{there}"]


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
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump({"current-context": "kind-dev"}))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("IMAGE_REGISTRY", raising=False)
    assert image_delivery.deliver(IMAGE, kubeconfig=kubeconfig) == IMAGE.name
    assert said.read_text().split() == ["load", "image-archive", str(IMAGE.archive), "--name", "dev"]


def test_a_push_that_fails_is_told_with_the_programs_words(monkeypatch, tmp_path):
    program(tmp_path, "buildah", 'echo "unauthorized: log in first" >&2; exit 125')
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump({"current-context": "prod"}))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("IMAGE_REGISTRY", REGISTRY)
    with pytest.raises(DeliveryError, match="unauthorized: log in first; check IMAGE_REGISTRY"):
        image_delivery.deliver(IMAGE, kubeconfig=kubeconfig)


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
    path.write_text(f"#!/bin/sh\nexec > {said}\n{script}\n")
    path.chmod(0o755)
    return said
