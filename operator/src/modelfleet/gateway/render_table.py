"""The one route table: every model's routes under its names, the lists of models, the API keys and tenants' rates.

Keys live here and not in the listener: a changed listener drains and then cuts connections, a changed table does not.
Must not render a model's own routes.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.wrappers_pb2 import UInt32Value

from modelfleet.core.observe import epoch
from modelfleet.core.routing.access import Admission
from modelfleet.core.routing.model import ApiKey, Served, Timeouts
from modelfleet.gateway import headers, proto
from modelfleet.gateway.render_limits import limits
from modelfleet.gateway.render_route import direct, header_present, retries

LARGEST_LIST_BYTES = 8 * 1024 * 1024
Listed = tuple[str, Admission]
"""What the list says of a model (`listed`), and to whom."""


def table(
    *, models: Iterable[bytes], listing: Any, keys: Iterable[ApiKey], rates: Mapping[str, float], open_to_all: bool
) -> Any:
    """Assemble the table.

    Args:
        models: what to do under each model's names, as `entries` gave it.
        listing: what to do for a list of models, as `list_action` gave it.
        keys: who is known.
        rates: tenant → requests per second.
        open_to_all: whether a request without a key may pass the key check; each model then decides.
    """
    choice = proto.matcher.Matcher(on_no_match=_before_the_body(open_to_all=open_to_all))
    choice.matcher_tree.input.CopyFrom(_header_input(headers.MODEL))
    by_name = choice.matcher_tree.exact_match_map
    by_name.map[headers.LISTING].CopyFrom(listing)
    by_name.MergeFromString(b"".join(models))
    host = proto.route.VirtualHost(
        name=headers.ROUTES,
        domains=["*"],
        matcher=choice,
        typed_per_filter_config={headers.API_KEYS: proto.packed(_keys(keys))},
        include_request_attempt_count=True,
        retry_policy=retries(Timeouts().silence),
    )
    if rates:
        host.typed_per_filter_config[headers.LIMITS].CopyFrom(proto.packed(limits(rates)))
    return proto.routes.RouteConfiguration(
        name=headers.ROUTES,
        virtual_hosts=[host],
        max_direct_response_body_size_bytes=UInt32Value(value=LARGEST_LIST_BYTES),
    )


def entries(actions: Mapping[str, Any]) -> bytes:
    """Write a part of the table down: name → what to do, as `action` gave it; parts are joined end to end."""
    found = proto.matcher.Matcher.MatcherTree.MatchMap()
    for name, on_match in actions.items():
        found.map[name].CopyFrom(on_match)
    return bytes(found.SerializeToString(deterministic=True))


def action(found: Any) -> Any:
    """Wrap a Route or RouteList as what a name leads to."""
    return proto.matcher.Matcher.OnMatch(action=proto.typed(found, name="route", kind=_XdsExtension))


def list_action(models: Iterable[Listed], *, tenants: Iterable[str]) -> Any:
    """Answer `GET /v1/models` with what the tenant may use; tenants with the same rights share one answer."""
    known = tuple(models)
    answers: dict[str, Any] = {}

    def answer(tenant: str | None) -> Any:
        usable = ", ".join(text for text, admission in known if admission.admits(tenant))
        if usable not in answers:
            answers[usable] = action(_list_route(usable))
        return answers[usable]

    choice = proto.matcher.Matcher(on_no_match=answer(None))
    choice.matcher_tree.input.CopyFrom(_header_input(headers.TENANT))
    by_tenant = choice.matcher_tree.exact_match_map.map
    for tenant in sorted(set(tenants)):
        by_tenant[tenant].CopyFrom(answer(tenant))
    if not by_tenant:
        return answer(None)
    return proto.matcher.Matcher.OnMatch(matcher=choice)


def listed(model: Served, *, names: tuple[str, ...]) -> str:
    """Say what the list says of one model: its names, the full one only where another model holds the short one."""
    created = int(epoch(model.created))
    entry = {"object": "model", "created": created, "owned_by": model.namespace}
    return ", ".join(json.dumps({"id": name, **entry}) for name in (names[1:] or names))


def _list_route(models: str) -> Any:
    route = direct(200, f'{{"object": "list", "data": [{models}]}}')
    option = proto.base.HeaderValueOption
    route.response_headers_to_add.append(
        option(
            header=proto.base.HeaderValue(key="content-type", value="application/json"),
            append_action=option.OVERWRITE_IF_EXISTS_OR_ADD,
        )
    )
    return route


def _before_the_body(*, open_to_all: bool) -> Any:
    """Say what holds until the body's model is known, and where no model has its name."""
    unknown = direct(404, "there is no such model")
    if not open_to_all:
        return action(unknown)
    # Clients must send something as a key; EMPTY is what engines' documentation tells them to where none is needed.
    placeholder = proto.route.HeaderMatcher(name=headers.KEY_HEADERS[0])
    placeholder.string_match.exact = "Bearer EMPTY"
    absent = tuple(header_present(name, present=False) for name in headers.KEY_HEADERS)
    without_key = direct(404, "there is no such model", matching=absent)
    with_placeholder = direct(404, "there is no such model", matching=(placeholder, absent[1]))
    for route in (without_key, with_placeholder):
        off = proto.route.FilterConfig(disabled=True)
        route.typed_per_filter_config[headers.API_KEYS].CopyFrom(proto.packed(off))
    return action(proto.route.RouteList(routes=[without_key, with_placeholder, unknown]))


def _keys(keys: Iterable[ApiKey]) -> Any:
    kind = proto.api_key
    tenants: dict[str, str] = {}
    for one in sorted(keys, key=lambda k: (k.key, k.tenant)):
        tenants.setdefault(one.key, one.tenant)  # the same key twice would make Envoy refuse the whole table
    return kind.ApiKeyAuthPerRoute(
        credentials=[kind.Credential(key=key, client=tenant) for key, tenant in tenants.items()],
        key_sources=key_sources(),
        forwarding=forwarding(),
    )


def key_sources() -> list[Any]:
    """Say where a key may stand."""
    return [proto.api_key.KeySource(header=name) for name in headers.KEY_HEADERS]


def forwarding() -> Any:
    """Pass on who asks, and never the key."""
    return proto.api_key.Forwarding(header=headers.TENANT, hide_credentials=True)


def _header_input(name: str) -> Any:
    return proto.typed(proto.inputs.HttpRequestHeaderMatchInput(header_name=name), name="header", kind=_XdsExtension)


_XdsExtension = proto.matcher.Matcher.OnMatch().action.__class__
