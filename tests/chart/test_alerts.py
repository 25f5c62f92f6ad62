"""The alerts: Prometheus reads them, they fire when they should and not before, and each leads to a page that exists."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from modelfleet.cli.operations import GATEWAY_METRICS, metric_rows
from tests.chart.helm import CHART, ROOT, only, render

FILE = CHART / "files" / "alerts.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
}
HERE = Path(__file__).parent


def metrics(expression: str) -> set[str]:
    return set(re.findall(r"\bmodelfleet_\w+", expression))


@pytest.fixture(scope="module")
def promtool(prometheus_programs: None) -> str:
    """Prometheus' own tool."""
    found = shutil.which("promtool")
    assert found
    return found


def run(*argv: str, folder: Path) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_them(promtool):
    run(promtool, "check", "rules", str(FILE), folder=HERE)


def test_each_fires_when_it_should_and_not_before(promtool):
    run(promtool, "test", "rules", "alerts_test.yaml", folder=HERE)


def test_each_is_tried_both_ways():
    told = yaml.safe_load((HERE / "alerts_test.yaml").read_text())
    asked = [case for group in told["tests"] for case in group["alert_rule_test"]]
    assert {case["alertname"] for case in asked if case["exp_alerts"]} == set(RULES)
    assert {case["alertname"] for case in asked if not case["exp_alerts"]} == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_its_expression_is_promql_over_metrics_that_are_served(name):
    promql_parser.parse(RULES[name]["expr"])
    served = {row[0].strip("`") for row in (*metric_rows(), *metric_rows(GATEWAY_METRICS))}
    asked = metrics(RULES[name]["expr"])
    assert asked
    assert asked <= served


@pytest.mark.parametrize("name", RULES)
def test_it_says_what_happens_how_bad_it_is_and_where_to_read_on(name):
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page = rule["annotations"]["runbook_url"]
    if "{{" not in page:  # tests/layout sees to a page for each reason
        assert (ROOT / page).is_file(), page


def test_none_are_made_unless_asked_for():
    assert [m for m in render() if m["metadata"]["name"].endswith("-alerts")] == []


def test_the_prometheus_operator_gets_the_very_rules_of_the_file():
    made = only(render(alerts={"kind": "PrometheusRule", "labels": {"release": "prometheus"}}), "PrometheusRule")
    assert made["spec"] == yaml.safe_load(FILE.read_text())
    assert made["metadata"]["labels"]["release"] == "prometheus"


def test_any_prometheus_gets_them_as_a_file():
    made = only(render(alerts={"kind": "ConfigMap"}), "ConfigMap", "-alerts")
    assert yaml.safe_load(made["data"]["modelfleet.yaml"]) == yaml.safe_load(FILE.read_text())


def test_the_pages_are_where_people_have_put_them():
    address = "https://wiki.example.com/runbooks"
    made = only(render(alerts={"kind": "PrometheusRule", "runbooks": f"{address}/"}), "PrometheusRule")
    pages = {
        rule["alert"]: rule["annotations"]["runbook_url"] for group in made["spec"]["groups"] for rule in group["rules"]
    }
    assert pages["ModelFleetNoLeader"] == f"{address}/ModelFleetNoLeader.md"
    assert all(page.startswith(f"{address}/") for page in pages.values())
