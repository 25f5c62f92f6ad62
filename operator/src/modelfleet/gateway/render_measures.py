"""What Envoy counts and writes of each request: the access logs of the listener and of the router's tries.

Static, as all of the listener. Labels are routes' and clusters' metadata and the tenant of a known key: what a client
invents is in none. Must not name metrics: `core/routing/measures.py` does.
"""

from collections.abc import Mapping
from typing import Any

from modelfleet.core.routing import measures
from modelfleet.core.routing.measures import Measure
from modelfleet.gateway import headers, proto

SCOPE = "modelfleet"
STATS_LOGGER = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
TAG_INPUT = "type.googleapis.com/envoy.extensions.matching.common_inputs.stats.v3.StatTagValueInput"
TAG_ACTION = "type.googleapis.com/envoy.extensions.matching.actions.transform_stat.v3.TransformStat"
BEGAN, ENDED = "UpstreamPoolReady", "UpstreamEnd"
Json = dict[str, Any]

_KNOWN = f"%DYNAMIC_METADATA({headers.METADATA}:{{}})%"
_OF_REQUEST = {
    measures.NAMESPACE: f"%METADATA(ROUTE:{headers.METADATA}:namespace)%",
    measures.NAME: f"%METADATA(ROUTE:{headers.METADATA}:name)%",
    measures.REVISION: f"%METADATA(CLUSTER:{headers.METADATA}:revision)%",
    measures.TENANT: _KNOWN.format("tenant"),
}
_BY_HEADER = {**_OF_REQUEST, measures.TENANT: f"%REQ({headers.TENANT})%"}
"""Where there are no notes of the filters. A try sees none, but only what passed the filters is ever tried: its header is
not the client's. What a limit refused has none yet; only a tenant that the chart names has a limit."""
_FIRST_TOKEN = "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:ms)%"  # noqa: S105 - no password

_ENDING = "%RESPONSE_CODE% ,%RESPONSE_FLAGS%, "
_ENDING_OF_REQUEST = _ENDING + _KNOWN.format("verdict")
_ENDING_OF_TRY = _ENDING + "took %COMMON_DURATION(US_RX_BEG:US_RX_END:ms)%"
"""A try that is given up because the client left has no flag of its own; its answer merely has no end."""
_BROKEN = "(UC|UR|UPE|LR)"
_PATTERNS: tuple[tuple[measures.Outcome, str], ...] = (
    ("aborted", r"\d+ .*,(DC|DR|DPE),.*"),
    ("timeout", r"504 .*|\d+ .*,(UT|SI|DT|UMSDR),.*"),
    ("unreachable", r"\d+ .*,(UF|UO),.*"),
    ("failed", rf"(0|503) .*,{_BROKEN},.*"),
    ("unavailable", r"503 .*"),
    ("overloaded", r"429 .*"),
    ("rejected", r"4\d\d .*"),
    ("failed", r"5\d\d .*|2\d\d .*, error"),
    ("cut", rf"[123]\d\d .*,{_BROKEN},.*"),
    ("aborted", r"[0123]\d* ,-, took -?"),
    ("empty", r"2\d\d .*, empty"),
    ("ok", r"[123]\d\d .*"),
)
"""Status, Envoy's flags and what response.lua found → outcome; the first that fits."""


def request_logs() -> list[Any]:
    """Render what the listener counts and writes when a request ends."""
    known, streamed = _noted("tenant"), [_noted("begun"), _noted("stream", of=True)]
    no_host = _all([{"response_flag_filter": {"flags": ["UH"]}}, _tried("1")])
    no_replica = _all([_status(503), _any([_tried(None), no_host])])
    shown_by_no_try = _any([_all([_noted("verdict", of="error"), _tried("1")]), no_replica])
    return [
        _counts(_counter(measures.REQUESTS), when=[known]),
        _counts(_counter(measures.REQUESTS, of=_BY_HEADER), when=[{"response_flag_filter": {"flags": ["RL"]}}]),
        _counts(_histogram(measures.DURATION, value="%DURATION%", only="ok"), when=[known]),
        _counts(_histogram(measures.TTFT, value=_FIRST_TOKEN), when=streamed),
        *(
            _counts(_counter(measure, value=_KNOWN.format(key)), when=[_noted(key)])
            for measure, key in ((measures.INPUT_TOKENS, "usage:input"), (measures.OUTPUT_TOKENS, "usage:output"))
        ),
        _counts(_counter(measures.STARTED), when=[known, no_replica]),
        _counts(_counter(measures.FIRST_ATTEMPTS), when=[known, shown_by_no_try]),
        _line(),
    ]


def try_logs() -> list[Any]:
    """Render what the router counts when a try of an engine begins and ends."""
    unconnected = _all([_types(ENDED), {"response_flag_filter": {"flags": ["UF", "UO"]}}])
    began = _any([_types(BEGAN), unconnected])
    return [
        _counts(_counter(measures.STARTED, of=_BY_HEADER), when=[began, _tried("1")]),
        _counts(_counter(measures.ATTEMPTS_STARTED, of=_BY_HEADER), when=[began]),
        _counts(_counter(measures.ATTEMPTS, of=_BY_HEADER, ending=_ENDING_OF_TRY), when=[_types(ENDED)]),
        _counts(
            _counter(measures.FIRST_ATTEMPTS, of=_BY_HEADER, ending=_ENDING_OF_TRY), when=[_types(ENDED), _tried("1")]
        ),
        _counts(_running(measures.IN_FLIGHT), when=[_types(BEGAN, ENDED)]),
    ]


def labels(**values: str) -> Any:
    """Give a route's or cluster's metadata that label what is counted on it."""
    found = proto.base.Metadata()
    found.filter_metadata[headers.METADATA].update(values)
    return found


def _counter(
    measure: Measure, *, value: str = "", of: Mapping[str, str] = _OF_REQUEST, ending: str = _ENDING_OF_REQUEST
) -> Json:
    amount: Json = {"value_format": value} if value else {"value_fixed": 1}
    return {"counters": [{"stat": _stat(measure, of=of, ending=ending), **amount}]}


def _histogram(measure: Measure, *, value: str, only: measures.Outcome | None = None) -> Json:
    stat = _stat(measure, of=_OF_REQUEST, only=only)
    return {"histograms": [{"stat": stat, "unit": "Milliseconds", "value_format": value}]}


def _running(measure: Measure) -> Json:
    pair = {"add_log_type": BEGAN, "sub_log_type": ENDED}
    return {"gauges": [{"stat": _stat(measure, of=_BY_HEADER), "value_fixed": 1, "add_subtract": pair}]}


def _stat(
    measure: Measure,
    *,
    of: Mapping[str, str],
    ending: str = _ENDING_OF_REQUEST,
    only: measures.Outcome | None = None,
) -> Json:
    tags: list[Json] = [{"name": label, "value_format": of[label]} for label in measures.OF_REQUEST]
    if only or measures.OUTCOME in measure.labels:
        tags.append({"name": measures.OUTCOME, "value_format": ending, "rules": _outcomes(only)})
    return {"name": measure.stat, "tags": tags}


def _outcomes(only: measures.Outcome | None) -> Json:
    """Turn how a request ended into its outcome; with `only`, leave out those that ended otherwise."""

    def becomes(outcome: measures.Outcome) -> Json:
        change: Json = {"update_tag": {"new_tag_value": outcome}}
        if only is not None:
            change = {"drop_tag": {}} if outcome == only else {"drop_stat": {}}
        return {"action": {"name": "outcome", "typed_config": {"@type": TAG_ACTION, **change}}}

    def fits(pattern: str) -> Json:
        value = {"name": "tag", "typed_config": {"@type": TAG_INPUT}}
        return {
            "single_predicate": {"input": value, "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}}}
        }

    matchers = [{"predicate": fits(pattern), "on_match": becomes(outcome)} for outcome, pattern in _PATTERNS]
    return {"matcher_list": {"matchers": matchers}, "on_no_match": becomes("other")}


def _counts(stats: Json, *, when: list[Json]) -> Any:
    config = proto.loose(STATS_LOGGER, {"stat_prefix": SCOPE, **stats})
    return proto.access_log(name="envoy.access_loggers.stats", when=_all(when), config=config)


def _line() -> Any:
    """Write one line of JSON per request: nothing of bodies, no key, no query."""
    fields = {
        "time": "%START_TIME%",
        "request_id": "%STREAM_ID%",
        **_OF_REQUEST,
        "model": _KNOWN.format("model"),
        "path": "%PATH(NQ)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "verdict": _KNOWN.format("verdict"),
        "stream": _KNOWN.format("stream"),
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "ttft_ms": _FIRST_TOKEN,
        "duration_ms": "%DURATION%",
        "input_tokens": _KNOWN.format("usage:input"),
        "output_tokens": _KNOWN.format("usage:output"),
        "endpoint": "%UPSTREAM_HOST%",
    }
    written = proto.stream_log.StdoutAccessLog()
    written.log_format.json_format.update(fields)
    return proto.access_log(name="envoy.access_loggers.stdout", when=None, config=proto.packed(written))


def _all(filters: list[Json]) -> Json:
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}}


def _any(filters: list[Json]) -> Json:
    return {"or_filter": {"filters": filters}}


def _types(*types: str) -> Json:
    return {"log_type_filter": {"types": list(types)}}


def _status(status: int) -> Json:
    # Only the default counts: the runtime key is demanded by the schema and never set.
    value = {"default_value": status, "runtime_key": f"modelfleet.log.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _tried(times: str | None) -> Json:
    """Hold for a request that was handed out so many times; None for one that never was."""
    match: Json = {"present_match": False} if times is None else {"string_match": {"exact": times}}
    return {"header_filter": {"header": {"name": headers.ATTEMPT, **match}}}


def _noted(key: str, *, of: bool | str | None = None) -> Json:
    """Hold for requests of which the filters noted this; nothing that a client says gets there by itself."""
    value: Json = {"present_match": True} if of is None else {"bool_match": of}
    if isinstance(of, str):
        value = {"string_match": {"exact": of}}
    matcher = {"filter": headers.METADATA, "path": [{"key": part} for part in key.split(":")], "value": value}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}
