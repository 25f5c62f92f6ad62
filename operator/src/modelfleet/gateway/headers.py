"""Names that the parts of Envoy's configuration share: headers, metadata, the fixed resources.

Must not hold anything that changes while a gateway runs.
"""

from modelfleet.core.routing import model

MODEL = "x-modelfleet-model"
"""The model that the body asks for; written by the filters, never taken from a client."""
TENANT = "x-modelfleet-tenant"
"""Who asks; written by the key check, never taken from a client."""
PREFIX = "x-modelfleet-prefix"
"""A hash of how the prompt begins; written by the filters, never taken from a client."""
REVISION = "x-modelfleet-revision"
"""In a request: the revision that the client chooses. In a response: the one that answered."""
ATTEMPT = "x-envoy-attempt-count"
"""Which try this is, counted by Envoy; from a client it is removed as all of its words."""
OWN = (MODEL, TENANT, PREFIX)
"""Headers that are removed from what clients send."""

METADATA = "modelfleet"
"""Namespace of what the filters find in bodies, and of the labels that routes and clusters carry."""
LUA = "envoy.filters.http.lua"
API_KEYS = "envoy.filters.http.api_key_auth"
LIMITS = "envoy.filters.http.local_ratelimit"
LISTING = "=models"
"""Stands for the list of models where a model's name would stand; no served name has this sign."""

ROUTES = "models"
LISTENER = "requests"
EDGE_SECRET = "edge"  # noqa: S105 - the name of a resource, not a secret
KEY_HEADERS = ("authorization", "api-key")
"""Where a key may stand; the first that is there counts. A Bearer prefix is taken off."""
OPERATIONS = model.OPERATIONS
USAGE_ON_REQUEST = ("/v1/chat/completions", "/v1/completions")
"""Operations whose streams tell the tokens only where `stream_options` asks for it."""
