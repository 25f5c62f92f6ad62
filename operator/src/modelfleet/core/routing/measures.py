"""What every Envoy of the gateway counts, by name and label: the one place that its configuration and all queries share.

Envoy serves these on `/stats/prometheus`. Every label's value comes from an API object or from the lists below, never
from a client. Must not know how Envoy is told.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "envoy_modelfleet_"
"""Envoy puts its own name before every metric; the rest is ours."""
NAMESPACE, NAME, REVISION, TENANT, OUTCOME = "model_namespace", "llmdeployment", "revision", "tenant", "outcome"
"""Labels. Not `namespace`: Prometheus gives this one to the Envoy's own."""
OF_REQUEST = (NAMESPACE, NAME, REVISION, TENANT)

Outcome = Literal[
    "ok",
    "empty",
    "rejected",
    "overloaded",
    "unavailable",
    "unreachable",
    "timeout",
    "failed",
    "cut",
    "aborted",
    "other",
]
OUTCOMES: dict[Outcome, str] = {
    "ok": "answered as the engine said",
    "empty": "a chat or completion ended well without a word or a tool call in it",
    "rejected": "4xx: by the gateway (key, tenant, model, body) or by the engine",
    "overloaded": "429",
    "unavailable": "503: by the engine, or no replica was ready",
    "unreachable": "no connection to the engine",
    "timeout": "504, or a stream that said nothing for too long",
    "failed": "another 5xx, a connection that broke before the first byte, or an error inside a stream",
    "cut": "the engine's stream broke after its first byte",
    "aborted": "the client left",
    "other": "none of these",
}
FAULTS: tuple[Outcome, ...] = ("unavailable", "unreachable", "timeout", "failed", "cut")
"""Outcomes that are the service's fault, for error ratios: never the client's, and not load alone."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric. Counters and histograms start when Envoy does; times are in milliseconds, as Envoy keeps them."""

    stat: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str

    @property
    def name(self) -> str:
        """How Prometheus knows it.

        >>> REQUESTS.name
        'envoy_modelfleet_requests_total'
        """
        return PREFIX + self.stat


STARTED = Measure(
    stat="requests_started_total",
    kind="counter",
    labels=OF_REQUEST,
    meaning="Admitted requests when they go to an engine for the first time, and those for which no replica was ready: the"
    " arrival rate.",
)
REQUESTS = Measure(
    stat="requests_total",
    kind="counter",
    labels=(*OF_REQUEST, OUTCOME),
    meaning="Requests that ended, as clients saw them, at the revision that was tried last; those that reached no model have"
    " empty labels.",
)
ATTEMPTS_STARTED = Measure(
    stat="attempts_started_total",
    kind="counter",
    labels=OF_REQUEST,
    meaning="Tries of an engine that began, each retry by itself.",
)
ATTEMPTS = Measure(
    stat="attempts_total",
    kind="counter",
    labels=(*OF_REQUEST, OUTCOME),
    meaning="Tries of an engine that ended, before retries hide them.",
)
FIRST_ATTEMPTS = Measure(
    stat="first_attempts_total",
    kind="counter",
    labels=(*OF_REQUEST, OUTCOME),
    meaning="First tries that ended, each at the revision that was drawn for its request. What no try shows is added: an"
    " error inside a stream that was not tried again, and no ready replica.",
)
IN_FLIGHT = Measure(
    stat="requests_in_flight", kind="gauge", labels=OF_REQUEST, meaning="Requests that an engine works on now."
)
TTFT = Measure(
    stat="time_to_first_token_ms",
    kind="histogram",
    labels=OF_REQUEST,
    meaning="Streams: from the request's first byte to the first byte of the answer's body, retries included.",
)
DURATION = Measure(
    stat="request_duration_ms",
    kind="histogram",
    labels=OF_REQUEST,
    meaning="Requests with outcome `ok`: from the request's first byte to the answer's last.",
)
INPUT_TOKENS = Measure(
    stat="input_tokens_total", kind="counter", labels=OF_REQUEST, meaning="Tokens of prompts, as engines counted them."
)
OUTPUT_TOKENS = Measure(
    stat="output_tokens_total", kind="counter", labels=OF_REQUEST, meaning="Tokens of answers, as engines counted them."
)
ALL = (
    STARTED,
    REQUESTS,
    ATTEMPTS_STARTED,
    ATTEMPTS,
    FIRST_ATTEMPTS,
    IN_FLIGHT,
    TTFT,
    DURATION,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
)
