"""Merge the user's PodTemplate overlay over the rendered template: the last word is the user's.

Lists merge by Kubernetes' own list-map keys; every other list is replaced whole. Must not know what a template means.
"""

from collections.abc import Mapping, Sequence
from typing import Any

LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "hostAliases": ("ip",),
}
"""Merge keys of Kubernetes' OpenAPI (`x-kubernetes-list-map-keys`) for the lists inside a pod template."""

KEY_DEFAULTS = {"protocol": "TCP"}


def merge(base: Any, overlay: Any, *, field: str = "") -> Any:
    """Lay `overlay` over `base`; `field` is the name under which both stand.

    >>> merge({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}})
    {'a': 1, 'b': {'c': 2, 'd': 3}}
    >>> merge([{"name": "x", "value": "1"}], [{"name": "x", "value": "2"}, {"name": "y"}], field="env")
    [{'name': 'x', 'value': '2'}, {'name': 'y'}]
    >>> merge(["a"], ["b"], field="args")
    ['b']
    """
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        merged = dict(base)
        for key, value in overlay.items():
            merged[key] = merge(base[key], value, field=key) if key in base else value
        return merged
    if field in LIST_KEYS and _are_maps(base) and _are_maps(overlay):
        return _merge_lists(base, overlay, keys=LIST_KEYS[field])
    return overlay


def _are_maps(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, Mapping) for v in value)


def _merge_lists(
    base: Sequence[Mapping[str, Any]], overlay: Sequence[Mapping[str, Any]], *, keys: tuple[str, ...]
) -> list[Any]:
    def identity(item: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(item.get(key, KEY_DEFAULTS.get(key)) for key in keys)

    merged = {identity(item): item for item in base}
    for item in overlay:
        at = identity(item)
        merged[at] = merge(merged[at], item) if at in merged else item
    return list(merged.values())
