"""What the documentation names exists: pages, sections, make targets, commands, files, fields and reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from modelfleet.api.v1alpha1.spec import LLMDeploymentSpec
from modelfleet.api.v1alpha1.status import LLMDeploymentStatus
from modelfleet.cli import conditions_doc, docs
from modelfleet.cli.advice import ADVICE
from modelfleet.cli.main import app
from tests.layout.commands import PAGE_IDS, PAGES, ROOT, commands, options

REFERENCE = ROOT / "docs" / "reference"
GENERATED = docs.pages()
HEALTHY = {
    "Accepted", "AllReplicasReady", "AsExpected", "AsRendered", "Available", "Fits", "Loaded", "NoReplicasWanted",
    "NotNeeded", "NotSuspended", "UpToDate", "Valid",
}  # fmt: skip
"""Reasons that need no advice."""
TOP_FILES = (
    "operator/",
    "tests/",
    "docs/",
    "examples/",
    "charts/",
    "crds/",
    "e2e/",
    "bench/",
    "runtime-image/",
    ".ci/",
)
each_page = pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)


def slug(title: str) -> str:
    return re.sub(r"[^a-z0-9 _-]", "", title.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(title) for title in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)}


def code(page: Path) -> str:
    """Everything that is set as code: fences, indented blocks and inline."""
    text = page.read_text()
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*fences, *re.findall(r"^ {4}\S.*$", text, re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)])


@each_page
def test_every_local_link_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(there), f"{target}: no such section"


@each_page
def test_every_make_target_exists(page: Path):
    makefile = ROOT / "Makefile"
    targets = (
        set(re.findall(r"^([a-z][a-z0-9-]*):", makefile.read_text(), re.MULTILINE)) if makefile.exists() else set()
    )
    named = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", code(page)))
    assert named <= targets, f"named but not in the Makefile: {sorted(named - targets)}"


@each_page
def test_every_command_exists(page: Path):
    named = set(
        re.findall(r"(?:^\s*(?:\$ )?|kubectl )modelfleet ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", code(page), re.MULTILINE)
    )
    assert {words for words in named if not is_command(words)} == set()


def is_command(words: str) -> bool:
    """Whether the CLI knows these words; what follows a command that is no group is an argument."""
    known: Any = typer.main.get_command(app)
    for word in words.split():
        if not hasattr(known, "commands"):
            return True
        known = known.commands.get(word)
        if known is None:
            return False
    return True


@each_page
def test_every_option_of_a_command_exists(page: Path):
    plugin = [words[1:] for words in commands(page.read_text(), program="kubectl") if words[1:2] == ["modelfleet"]]
    for words in (*plugin, *commands(page.read_text(), program="modelfleet")):
        assert options(words) <= known_options(words[1:]), " ".join(words)


def known_options(words: list[str]) -> set[str]:
    """Options of the command that these words lead to; `--help` is every command's."""
    known: Any = typer.main.get_command(app)
    for word in words:
        if word not in getattr(known, "commands", {}):
            break
        known = known.commands[word]
    return {"--help"}.union(*(parameter.opts for parameter in known.params))


@each_page
def test_every_module_that_is_run_exists(page: Path):
    for module in re.findall(r"python -m ([a-z0-9_.]+)", code(page)):
        if module == "pytest":
            continue
        base = ROOT / "operator" / "src" if module.startswith("modelfleet") else ROOT
        path = base.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@each_page
def test_every_file_of_the_repository_that_is_named_exists(page: Path):
    for word in re.findall(r"[\w./*-]+", code(page)):
        if word.startswith(TOP_FILES) and "*" not in word:
            assert (ROOT / word.rstrip(".")).exists(), word


def chart_values(values: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every path of the chart's values."""
    for name, value in values.items():
        yield path + name
        if isinstance(value, dict):
            yield from chart_values(value, f"{path}{name}.")


FIELDS = {
    path.strip("`").removesuffix("` (required)").replace("[]", "")
    for model, root in ((LLMDeploymentSpec, "spec"), (LLMDeploymentStatus, "status"))
    for path, *_ in docs.fields(model=model, path=root)
}
VALUES = set(chart_values(yaml.safe_load((ROOT / "charts" / "modelfleet" / "values.yaml").read_text())))
FIRST = {path.split(".")[1] for path in FIELDS if path.startswith("spec.")}
FREE = ("spec.template", "spec.resources.requests", "spec.resources.limits", "spec.nodeName")
"""Words of Kubernetes' own API."""
DECISIONS = ROOT / "docs" / "adr"
"""These pages may name what was not made."""


@each_page
def test_every_field_that_is_named_exists(page: Path):
    for word in re.findall(r"(?<![\w./-])(?:spec|status)(?:\.[a-z]\w*)+", code(page)):
        assert page.parent == DECISIONS or word in FIELDS or word.startswith(FREE), f"{word} is no field"


@each_page
def test_every_field_that_is_named_without_its_root_exists(page: Path):
    """As `drain.timeoutSeconds`: of the spec, or of the status or the chart's values where the name begins alike."""
    words = "|".join(sorted(FIRST))
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for named in re.findall(rf"`((?:{words})(?:\.[a-z]\w*)+)", prose):
        known = {f"spec.{named}", f"status.{named}"} & FIELDS or named in VALUES
        assert page.parent == DECISIONS or known or f"spec.{named}".startswith(FREE), f"{named} is no field, no value"


@each_page
def test_every_manifest_in_the_docs_can_be_read(page: Path):
    for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for manifest in yaml.safe_load_all(text):
            if not isinstance(manifest, dict) or manifest.get("kind", "LLMDeployment") != "LLMDeployment":
                continue
            spec = manifest.get("spec")
            if isinstance(spec, dict):
                LLMDeploymentSpec.model_validate({"model": {"uri": "hf://a/b"}, **spec})


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_the_reference_is_what_the_code_says(name: str):
    page = REFERENCE / name
    assert page.exists(), "run: python -m modelfleet.cli.docs"
    assert page.read_text() == GENERATED[name], f"{name} is out of date; run: python -m modelfleet.cli.docs"


def test_every_reason_that_is_said_can_be_looked_up():
    said = {word for _, reasons in conditions_doc.condition_rows() for word in re.findall(r"`(\w+)`", reasons)}
    holds = {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert said - HEALTHY - holds - set(ADVICE) == set(), "add advice to modelfleet/cli/advice.py"


def test_every_reason_that_the_core_can_give_is_in_the_reference():
    page = set(re.findall(r"`(\w+)`", (REFERENCE / "conditions.md").read_text()))
    core = ROOT / "operator" / "src" / "modelfleet" / "core"
    # A verdict has words of its own; a hold for want of a device is told as WaitingForCapacity, which has advice.
    sources = [path.read_text() for path in core.rglob("*.py") if path.parent.name != "judgement"]
    given = [re.findall(r"\b(?:reason|hold)=\"(\w+)\"|condition\([\w., ]+\"(\w+)\"", source) for source in sources]
    said = {word for found in given for pair in found for word in pair if word} - {"InsufficientCapacity"}
    assert {"Promoted", "NameTaken", "Window", "Fits", "Aborted"} <= said
    assert said - page == set()
    assert set(ADVICE) - page == set()


def test_every_condition_type_has_a_section():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    titles = " ".join(re.findall(r"^## (.+)$", page, re.MULTILINE))
    missing = [kind.strip("`") for kind, _ in conditions_doc.condition_rows() if kind.strip("`") not in titles]
    assert missing == []


def test_troubleshooting_has_a_section_for_each_reason_and_no_other():
    titles = re.findall(r"^### (.+)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert sorted(titles) == sorted(ADVICE)


def test_every_page_is_linked_from_the_overview():
    overview = (ROOT / "docs" / "README.md").read_text()
    listed_below = {"adr", "runbooks"}  # by a page of their own, which is linked
    pages = [p for p in (ROOT / "docs").rglob("*.md") if p.parent.name not in listed_below]
    pages += [ROOT / "docs" / folder / "README.md" for folder in listed_below]
    pages.remove(ROOT / "docs" / "README.md")
    assert [str(p.relative_to(ROOT)) for p in pages if str(p.relative_to(ROOT / "docs")) not in overview] == []


def test_every_decision_record_is_listed():
    folder = ROOT / "docs" / "adr"
    listed = (folder / "README.md").read_text()
    assert [p.name for p in folder.glob("0*.md") if p.name not in listed] == []
