"""Revision hashes never change their answer."""

import json
from pathlib import Path

import pytest

from modelfleet.core.names import HASHED_FIELDS, revision_hash

VECTORS = json.loads(Path(__file__).with_name("hash_vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["why"])
def test_golden_vectors_never_change(vector):
    # A failure here means that an upgrade would restart every replica. Correct the code, never the vector.
    assert revision_hash(spec=vector["spec"], annotations=vector["annotations"]) == vector["hash"]


@pytest.mark.parametrize("field", ["replicas", "scaling", "rollout", "suspend", "routing", "adapters"])
def test_what_does_not_concern_a_pod_makes_no_revision(field):
    spec = {"model": {"uri": "hf://a/b"}}
    assert revision_hash(spec=spec, annotations={}) == revision_hash(spec=spec | {field: {"x": 1}}, annotations={})


@pytest.mark.parametrize("field", HASHED_FIELDS)
def test_what_concerns_a_pod_makes_a_revision(field):
    spec = {"model": {"uri": "hf://a/b"}}
    assert revision_hash(spec=spec, annotations={}) != revision_hash(spec=spec | {field: {"x": 1}}, annotations={})
