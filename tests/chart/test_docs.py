"""What the pages on installing and on the gateway show is what the chart takes, makes, and the tests' cluster runs."""

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart.helm import CHART, ROOT, helm_program, render
from tests.layout.commands import PAGE_IDS, PAGES, commands, options

HOW_TO = ROOT / "docs" / "how-to"
INSTALL = "install-with-helm.md"
SHOWN = (INSTALL, "use-the-gateway.md", "add-a-key.md", "expose-with-tls.md")
"""Pages of which every block is looked at."""
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
VALUES = set(DEFAULTS)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())

each_page = pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)


def blocks(page: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", (HOW_TO / page).read_text(), flags=re.DOTALL)]


@pytest.mark.parametrize("page", SHOWN)
def test_the_chart_takes_every_block_of_values_and_kubernetes_every_manifest(page):
    shown = blocks(page)
    values = [block for block in shown if set(block) <= VALUES]
    manifests = [block for block in shown if "kind" in block]
    others = [set(block) for block in shown if block not in values and block not in manifests]
    assert all(keys in ({"scrape_configs"}, {"env"}) for keys in others)
    for block in values:
        assert render(**block)
    for manifest in manifests:
        kubernetes_validate.validate(manifest, desired_version="1.34", strict=True)


def test_every_switch_of_the_table_is_a_value_of_the_chart():
    switches = re.findall(r"^\| `(\w+)\.(\w+): false`", (HOW_TO / INSTALL).read_text(), flags=re.MULTILINE)
    assert switches
    for key, switch in switches:
        assert render(**{key: {switch: False}})


def test_the_gateways_pages_name_what_the_chart_makes():
    made = {(m["kind"], m["metadata"]["name"]) for m in render()}
    text = "".join((HOW_TO / page).read_text() for page in SHOWN)
    addresses = set(re.findall(r"https?://([\w-]+)\.modelfleet-system\.svc", text))
    assert addresses == {"modelfleet-gateway"}
    assert ("Service", "modelfleet-gateway") in made
    (autoscaler,) = (b for b in blocks("expose-with-tls.md") if b.get("kind") == "HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in made


def test_the_prometheus_of_the_tests_scrapes_pods_exactly_as_the_page_says():
    (told,) = (block["scrape_configs"][0] for block in blocks(INSTALL) if "scrape_configs" in block)
    manifest = (ROOT / "e2e" / "cluster" / "manifests" / "prometheus.yaml").read_text()
    documents = yaml.safe_load_all(re.sub(r"\$\{\w+\}", "placeholder", manifest))
    (config,) = (d["data"]["prometheus.yml"] for d in documents if d["kind"] == "ConfigMap")
    (used,) = (job for job in yaml.safe_load(config)["scrape_configs"] if job["job_name"] == "pods")
    assert used["relabel_configs"] == told["relabel_configs"]
    # where pods are found may differ: not every build of Prometheus can ask Kubernetes itself
    assert told["kubernetes_sd_configs"] == [{"role": "pod"}]


def is_value(path: str) -> bool:
    """Whether the chart has a value of this name: in its defaults, or below a value that takes any."""
    known = SCHEMA
    for word in path.split("."):
        below = known.get("properties", {})
        if word not in below:
            free = isinstance(known.get("additionalProperties"), dict) or not below
            return free and "object" in known.get("type", "object")
        known = below[word]
    return True


@each_page
def test_every_value_that_a_page_names_is_one_of_the_chart(page: Path):
    foreign = {"gateway.networking", "gateway.envoyproxy"}  # API groups
    words = re.findall(r"`([a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)+)(?::[^`\n]*)?`", page.read_text())
    named = {word for word in words if word.split(".")[0] in VALUES and not word.startswith(tuple(foreign))}
    assert {word for word in named if not is_value(word)} == set()


@each_page
def test_every_helm_command_of_a_page_is_one(page: Path):
    for words in commands(page.read_text(), program="helm"):
        verb = next((word for word in words[1:] if not word.startswith("-")), "")
        told = subprocess.run(
            [str(helm_program()), *([verb] if verb else []), "--help"], capture_output=True, text=True, check=False
        )
        assert not told.returncode, " ".join(words)
        flags = set(re.findall(r"(?:^|[ ,])(--?[a-zA-Z][\w-]*)", told.stdout))
        assert options(words) <= flags, " ".join(words)
        for flag, value in pairwise(words):
            assert flag != "--set" or is_value(value.split("=")[0]), value


@each_page
def test_the_chart_takes_the_values_of_every_page(page: Path):
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for block in yaml.safe_load_all(text):
            if isinstance(block, dict) and block and set(block) <= VALUES:
                assert render(**block)
