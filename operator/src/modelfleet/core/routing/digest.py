"""The route digest: one word for everything that a gateway applies for one LLMDeployment.

Equal on every control replica for the same objects, so that acknowledgements collected from several can be joined.
Must not hold anything that differs between processes: no versions of streams, no times, no order of arrival.
"""

import hashlib
import json
from dataclasses import asdict

from modelfleet.core.routing.access import Admission
from modelfleet.core.routing.model import Served
from modelfleet.core.routing.weights import effective

LENGTH = 16


def route_digest(model: Served, *, names: tuple[str, ...], admission: Admission) -> str:
    """Hash the model's names, clusters, endpoints, effective weights and options."""
    weights = effective(model.revisions)
    content = {
        "uid": model.uid,
        "names": sorted(names),
        "revisions": {
            r.name: {"weight": weights[r.name], "endpoints": sorted([e.address, e.port] for e in r.endpoints)}
            for r in model.revisions
        },
        "tenants": admission.tenants,
        "anonymous": admission.anonymous,
        "balance": model.balance,
        "stickiness": asdict(model.stickiness) if model.stickiness else None,
        "mirror": asdict(model.mirror) if model.mirror else None,
        "timeouts": asdict(model.timeouts),
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:LENGTH]
