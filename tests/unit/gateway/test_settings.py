"""What the chart says of tenants, as the gateway takes it."""

import json
from typing import Any

import pytest

from modelfleet.gateway.main import _objects
from modelfleet.gateway.settings import GatewaySettings
from modelfleet.settings import SettingsError, read


def fleet(**tenants: Any) -> Any:
    return _objects(read(GatewaySettings, {"MODELFLEET_TENANTS": json.dumps(tenants)})).fleet()


def test_namespaces_and_rates_are_two_things():
    found = fleet(both={"namespaces": ["a", "b"], "requestsPerSecond": 5}, fast={"requestsPerSecond": 0.5}, plain={})
    assert found.namespaces == {"both": ("a", "b")}, "the others keep the namespace of their own name"
    assert found.rates == {"both": 5, "fast": 0.5}, "who has no rate has no limit"


@pytest.mark.parametrize("said", [{"requestsPerSecond": 0}, {"rps": 1}, ["a"]])
def test_what_cannot_be_meant_is_refused_by_name(said: Any):
    with pytest.raises(SettingsError, match="MODELFLEET_TENANTS"):
        fleet(team=said)
