"""The page that tells how to install: what it shows is what the chart takes and what the cluster of the tests runs."""

import re

import yaml

from tests.chart.helm import ROOT, render

PAGE = (ROOT / "docs" / "how-to" / "install-with-helm.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)]


def test_the_chart_takes_every_block_of_values():
    values = [block for block in BLOCKS if "scrape_configs" not in block and "kind" not in block]
    assert len(values) == 3
    for block in values:
        assert render(**block)


def test_every_switch_of_the_table_is_a_value_of_the_chart():
    for key, switch in re.findall(r"^\| `(\w+)\.(\w+): false`", PAGE, flags=re.MULTILINE):
        assert render(**{key: {switch: False}})


def test_the_prometheus_of_the_tests_scrapes_pods_exactly_as_the_page_says():
    (told,) = (block["scrape_configs"][0] for block in BLOCKS if "scrape_configs" in block)
    manifest = (ROOT / "e2e" / "cluster" / "manifests" / "prometheus.yaml").read_text()
    documents = yaml.safe_load_all(re.sub(r"\$\{\w+\}", "placeholder", manifest))
    (config,) = (d["data"]["prometheus.yml"] for d in documents if d["kind"] == "ConfigMap")
    (used,) = (job for job in yaml.safe_load(config)["scrape_configs"] if job["job_name"] == "pods")
    assert used["relabel_configs"] == told["relabel_configs"]
    # where pods are found may differ: not every build of Prometheus can ask Kubernetes itself
    assert told["kubernetes_sd_configs"] == [{"role": "pod"}]
