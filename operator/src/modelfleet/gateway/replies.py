"""Errors that Envoy itself gives, in the shape that OpenAI's clients read.

Answers of an engine pass as they are. Must not put anything of a request into an answer but the model's name, which is
known to be a plain word by then.
"""

from typing import Any

from modelfleet.gateway import headers

RETRY_AFTER_SECONDS = 2
"""When to ask again: a replica that is restarted or ejected is back within seconds, and clients back off on top."""

ERRORS = {
    400: ("invalid_request_error", "bad_request"),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "model_not_allowed"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("invalid_request_error", "request_timeout"),
    413: ("invalid_request_error", "request_too_large"),
    426: ("invalid_request_error", "upgrade_required"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    431: ("invalid_request_error", "headers_too_large"),
    500: ("server_error", "internal_error"),
    502: ("server_error", "bad_gateway"),
    503: ("server_error", "overloaded"),
    504: ("server_error", "timeout"),
}
"""Status → type and code of OpenAI's error object."""
MESSAGES = {429: "this tenant's requests per second are used up; wait and try again"}
"""What is said instead of Envoy's own word; nothing else here answers 429."""
RETRIABLE = (429, 503)


def local_replies() -> dict[str, Any]:
    """Write the mappers; the first that fits an answer shapes it."""
    unknown_model = {
        "filter": {
            "and_filter": {"filters": [_status_is(404), _has_header(headers.MODEL), _lacks_header(headers.REVISION)]}
        },
        **_shaped(
            "invalid_request_error",
            "model_not_found",
            f"there is no model %REQ({headers.MODEL})%; GET /v1/models lists those that this key may use",
        ),
    }
    mappers = [unknown_model]
    for status, (kind, code) in ERRORS.items():
        mapper = {"filter": _status_is(status), **_shaped(kind, code, MESSAGES.get(status, "%LOCAL_REPLY_BODY%"))}
        if status in RETRIABLE:
            header = {"key": "retry-after", "value": str(RETRY_AFTER_SECONDS)}
            mapper["headers_to_add"] = [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
        mappers.append(mapper)
    return {"mappers": mappers}


def _shaped(kind: str, code: str, message: str) -> dict[str, Any]:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return {"body_format_override": {"json_format": {"error": error}, "content_type": "application/json"}}


def _status_is(status: int) -> dict[str, Any]:
    # Only the default counts: the runtime key is demanded by the schema and never set.
    value = {"default_value": status, "runtime_key": f"modelfleet.status.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _has_header(name: str) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": name, "present_match": True}}}


def _lacks_header(name: str) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": name, "present_match": False}}}
