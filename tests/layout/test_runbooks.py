"""Whoever is woken finds a page: one for each alert and one for each reason that holds a rollout, and no other."""

import re
from pathlib import Path

import pytest
import yaml

from modelfleet.api.v1alpha1.status import RolloutStatus

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "runbooks"
GROUPS = yaml.safe_load((ROOT / "charts" / "modelfleet" / "files" / "alerts.yaml").read_text())["groups"]
ALERTS = [rule["alert"] for group in GROUPS for rule in group["rules"]]
HOLDS = re.findall(r"[A-Z]\w+", (RolloutStatus.model_fields["hold"].description or "").partition(":")[2])


def test_every_hold_and_every_alert_has_its_page_and_there_is_no_other():
    pages = {page.stem for page in FOLDER.glob("*.md")} - {"README"}
    assert pages == {*HOLDS, *ALERTS}


def test_every_page_is_listed():
    listed = (FOLDER / "README.md").read_text()
    assert [name for name in (*HOLDS, *ALERTS) if f"[{name}]({name}.md)" not in listed] == []


@pytest.mark.parametrize("name", HOLDS)
def test_the_page_of_a_hold_says_what_it_means_what_to_look_at_and_what_to_do(name):
    titles = re.findall(r"^#+ (.+)$", (FOLDER / f"{name}.md").read_text(), re.MULTILINE)
    assert titles == [f"Hold: {name}", "What it means", "What to look at", "What to do"]


@pytest.mark.parametrize("name", ALERTS)
def test_the_page_of_an_alert_says_so_itself_or_leads_to_the_hold_that_does(name):
    text = (FOLDER / f"{name}.md").read_text()
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert titles[0] == f"Alert: {name}"
    assert titles[1:] == ["What it means", "What to look at", "What to do"] or any(
        f"({hold}.md)" in text for hold in HOLDS
    )


def test_every_reason_that_the_core_holds_a_rollout_for_is_one_that_the_status_knows():
    core = ROOT / "operator" / "src" / "modelfleet" / "core"
    said = {word for path in core.rglob("*.py") for word in re.findall(r"held\([^)]*hold=\"(\w+)\"", path.read_text())}
    assert said
    assert said <= set(HOLDS)
