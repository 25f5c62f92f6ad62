"""The real helm over the chart, for the tests beside this file. It must not need a cluster."""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "modelfleet"
COMPONENT = "app.kubernetes.io/component"
RELEASE, NAMESPACE = "modelfleet", "modelfleet-system"

Manifest = dict[str, Any]


class Refused(Exception):  # noqa: N818 - reads as the fact it states
    """Helm did not render; the message is helm's own, as a person would see it."""


def render(**values: Any) -> tuple[Manifest, ...]:
    """The chart's manifests with these values merged over the defaults.

    Raises:
        Refused: the schema or a check in the templates refused the values.
    """
    # The parser in C: the CRDs are long, and this is called for every value.
    documents = yaml.load_all(text("template", RELEASE, **values), Loader=yaml.CSafeLoader)
    return tuple(document for document in documents if document)


def operator_part(**values: Any) -> tuple[Manifest, ...]:
    """What of it is the operator's own: all that is not the gateway's."""
    return tuple(m for m in render(**values) if COMPONENT not in m["metadata"]["labels"] or component(m) == "operator")


def component(manifest: Manifest) -> str:
    """Whose part a manifest is: operator, gateway or gateway-control."""
    return str(manifest["metadata"]["labels"][COMPONENT])


def text(*command: str, **values: Any) -> str:
    """What `helm COMMAND CHART` prints."""
    return _run(command, json.dumps(values, sort_keys=True))


@functools.cache
def _run(command: tuple[str, ...], values: str) -> str:
    argv = [str(helm_program()), *command, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    done = subprocess.run(argv, input=values, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


@functools.cache
def helm_program() -> Path:
    """The program named by HELM, else the pinned one, built when it is missing."""
    if named := os.environ.get("HELM"):
        return Path(named)
    from e2e.cluster.build import tool  # noqa: PLC0415 - HELM alone suffices without the cluster's code

    return tool("helm")


def only(manifests: tuple[Manifest, ...], kind: str, suffix: str = "") -> Manifest:
    """The one manifest of a kind whose name ends so."""
    found = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, f"{kind} *{suffix}: {[m['metadata']['name'] for m in found]}"
    return found[0]


def kinds(manifests: tuple[Manifest, ...]) -> set[str]:
    """Which kinds were rendered."""
    return {m["kind"] for m in manifests}
