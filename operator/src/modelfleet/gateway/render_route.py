"""The routes of one model: who is refused, a revision that the client chose, and the weighted choice.

The order of the list is the order of the checks. Must not look at other models.
"""

from typing import Any

from modelfleet.core.routing.access import Admission
from modelfleet.core.routing.model import Served, Timeouts
from modelfleet.core.routing.tries import RETRIES, Stretches, tries
from modelfleet.gateway import headers, proto
from modelfleet.gateway.render_cluster import cluster_name
from modelfleet.gateway.render_measures import labels

RETRY_ON = "connect-failure,refused-stream,reset,retriable-status-codes"
RETRIED_STATUSES = (429, 503, 504)
DRAWS = 20
"""How often a retry draws again for a replica that was not tried. Of two, a dead one has no requests and is drawn three
times in four: so many draws miss the other in 0.2 % of the retries. Five missed it in 18 %, and of two thousand requests
beside a dead replica that was not ejected yet, five failed.
"""
CHOOSE_ANEW = b"\x70\x01"
"""RetryPolicy.refresh_cluster_on_retry, on the wire: the generated modules are older than this field of Envoy 1.39."""
CHOICE = (
    "type.googleapis.com/envoy.extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"
)
"""One weighted choice per try, all by the same random number; `weighted_clusters` has one for all of them."""
GRACE_SECONDS = 30
"""What the whole stream may be silent beyond one try's silence, so that the try's own limit is the one that acts."""


def model_routes(model: Served, *, admission: Admission) -> Any:
    """Render the routes of a model, which stand under its full name."""
    hints = _hints(model, name=model.served_name)
    found = [*_refusals(admission), *_chosen(model, hints), _weighted(model, hints)]
    for route in found:
        route.metadata.MergeFrom(labels(namespace=model.namespace, name=model.name))
    return proto.route.RouteList(routes=found)


def pointer(model: Served) -> Any:
    """Render what stands under a name that the model's engines know: request.lua goes on to the full name.

    A second copy of the routes there would double what every Envoy reads anew with every change of the table.
    """
    found = direct(404, "there is no such model")
    found.metadata.CopyFrom(_hints(model, full=model.full_name))
    return found


def retries(silence: float) -> Any:
    """Say when an engine is tried again, and when a try is given up; never once a byte went to the client."""
    retry = proto.route.RetryPolicy(retry_on=RETRY_ON, retriable_status_codes=RETRIED_STATUSES)
    retry.num_retries.value = RETRIES
    retry.per_try_idle_timeout.CopyFrom(proto.duration(silence))
    retry.host_selection_retry_max_attempts = DRAWS
    previous = proto.typed(
        proto.previous_hosts.PreviousHostsPredicate(),
        name="envoy.retry_host_predicates.previous_hosts",
        kind=proto.route.RetryPolicy.RetryHostPredicate,
    )
    retry.retry_host_predicate.append(previous)
    retry.MergeFromString(CHOOSE_ANEW)
    return retry


def direct(status: int, message: str, *, matching: tuple[Any, ...] = ()) -> Any:
    """Answer without asking an engine; `message` is put into OpenAI's shape by the listener."""
    answer = proto.route.DirectResponseAction(status=status, body=proto.base.DataSource(inline_string=message))
    return proto.route.Route(match=_match(*matching), direct_response=answer)


def header_is(name: str, value: str) -> Any:
    """Match a header's exact value."""
    wanted = proto.route.HeaderMatcher(name=name)
    wanted.string_match.exact = value
    return wanted


def header_present(name: str, *, present: bool = True) -> Any:
    """Match a header that is there, or is not."""
    return proto.route.HeaderMatcher(name=name, present_match=present)


def _match(*matchers: Any) -> Any:
    return proto.route.RouteMatch(prefix="/", headers=matchers)


def _refusals(admission: Admission) -> list[Any]:
    """Refuse whom the model does not admit: the tenant's header was written by the key check alone."""
    refusals = []
    # Where a key is always asked for, nobody is none of the admitted tenants: each route less counts in a large table.
    if not admission.anonymous and (admission.keyless or admission.tenants is None):
        nobody = header_present(headers.TENANT, present=False)
        refusals.append(direct(401, "this model needs an API key: send Authorization: Bearer KEY", matching=(nobody,)))
    if admission.tenants is not None:
        insiders = tuple(header_is(headers.TENANT, tenant) for tenant in admission.tenants)
        for insider in insiders:
            insider.invert_match = True
            insider.treat_missing_header_as_empty = True
        # All of a route's matchers must hold: it is none of the admitted tenants.
        refusals.append(direct(403, "this key's tenant may not use this model", matching=insiders))
    return refusals


def _chosen(model: Served, hints: Any) -> list[Any]:
    """Go where the client says, whatever the weights; a revision that is not there is no other one."""
    chosen = []
    for revision in model.revisions:
        action = _action(model)
        action.cluster = cluster_name(model, revision.name)
        chosen.append(
            proto.route.Route(
                match=_match(header_is(headers.REVISION, revision.name)),
                route=action,
                metadata=hints,
                response_headers_to_add=[_answered_by()],
            )
        )
    missing = (header_present(headers.REVISION),)
    return [
        *chosen,
        direct(404, "this model has no such revision now; leave out " + headers.REVISION, matching=missing),
    ]


def _weighted(model: Served, hints: Any) -> Any:
    found = tries(model.revisions)
    if not found:
        return direct(503, "no replica of this model is ready")
    action = _action(model)
    if len(found[0]) == 1:
        action.cluster = cluster_name(model, found[0][0][0])
    else:
        action.inline_cluster_specifier_plugin.extension.name = "tries"
        action.inline_cluster_specifier_plugin.extension.typed_config.CopyFrom(_choices(model, found))
    if model.mirror is not None:
        copy = action.request_mirror_policies.add(cluster=cluster_name(model, model.mirror.revision))
        copy.runtime_fraction.default_value.numerator = model.mirror.percent
    return proto.route.Route(match=_match(), route=action, metadata=hints, response_headers_to_add=[_answered_by()])


def _choices(model: Served, found: tuple[Stretches, ...]) -> Any:
    groups = [
        {
            "name": str(number),
            "clusters": [{"cluster_name": cluster_name(model, name), "weight": length} for name, length in stretches],
        }
        for number, stretches in enumerate(found)
    ]
    sticky = {"use_hash_policy": True} if model.stickiness is not None else {}
    return proto.loose(CHOICE, {"priority_groups": groups, **sticky})


def _action(model: Served) -> Any:
    """Render what every route to an engine shares. There is no limit on a whole answer: only silence ends it."""
    silence = model.timeouts.silence
    action = proto.route.RouteAction(timeout=proto.duration(0), idle_timeout=proto.duration(silence + GRACE_SECONDS))
    if silence != Timeouts().silence:  # otherwise it is the table's
        action.retry_policy.CopyFrom(retries(silence))
    action.hash_policy.extend(_hash_policies(model))
    return action


def _hash_policies(model: Served) -> list[Any]:
    kind = proto.route.RouteAction.HashPolicy
    if model.stickiness is None:
        prefix = kind(header=kind.Header(header_name=headers.PREFIX))
        return [prefix] if model.balance == "PrefixAffinity" else []
    if model.stickiness.by == "Cookie":
        # Envoy could make a missing cookie, but draws the revision without it: the next request would hop.
        return [kind(cookie=kind.Cookie(name=model.stickiness.name))]
    # The key itself is hidden before routing; its tenant stands for it.
    name = model.stickiness.name if model.stickiness.by == "Header" else headers.TENANT
    return [kind(header=kind.Header(header_name=name))]


def _hints(model: Served, **more: str) -> Any:
    """Tell request.lua what this route needs of the body, and what `more` it is to do."""
    hints = proto.base.Metadata()
    hints.filter_metadata[headers.LUA].update({"counted": True, **more})
    if model.balance == "PrefixAffinity" and model.stickiness is None:
        hints.filter_metadata[headers.LUA].update({"prefix": True})
    return hints


def _answered_by() -> Any:
    """Name the revision in the answer: of a request that was tried in several, the last."""
    option = proto.base.HeaderValueOption
    value = f"%METADATA(CLUSTER:{headers.METADATA}:revision)%"
    return option(
        header=proto.base.HeaderValue(key=headers.REVISION, value=value),
        append_action=option.OVERWRITE_IF_EXISTS_OR_ADD,
    )
