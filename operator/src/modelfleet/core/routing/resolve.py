"""Which model name means which LLMDeployment.

`namespace/name` always works. Of several that claim one other name the older wins, then namespace/name. Must not look
at tenants: a name means the same for everybody.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from modelfleet.core.routing.model import Served

LORA_FLAG = "--lora-modules"
SHORTEST_LORA_FLAG = "--lora-m"
"""vLLM reads any abbreviation that no other of its flags shares."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """The outcome for a fleet."""

    of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """UID → every name that reaches it, `namespace/name` first."""
    lost: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """UID → name that it claims in vain → `namespace/name` of who holds it."""


def resolve(models: Iterable[Served]) -> Names:
    """Give every name to one model."""
    ordered = sorted(models, key=lambda m: (m.created, m.namespace, m.name))
    holder: dict[str, Served] = {model.full_name: model for model in ordered}
    of: dict[str, list[str]] = {model.uid: [model.full_name] for model in ordered}
    lost: dict[str, dict[str, str]] = defaultdict(dict)
    for model in ordered:
        for name in dict.fromkeys((model.served_name, *model.adapter_names)):
            first = holder.setdefault(name, model)
            if first.uid != model.uid:
                lost[model.uid][name] = first.full_name
            elif name not in of[model.uid]:
                of[model.uid].append(name)
    return Names(of={uid: tuple(names) for uid, names in of.items()}, lost=dict(lost))


def adapter_names(args: Sequence[str]) -> tuple[str, ...]:
    """Read the names in vLLM's `--lora-modules`, in each of the forms that vLLM takes.

    >>> adapter_names(["--lora-modules", "sql=/l/sql", "law=/l/law", "--max-model-len=9"])
    ('sql', 'law')
    >>> adapter_names(['--lora_modules={"name": "sql", "path": "/l/sql"}'])
    ('sql',)
    """
    found: list[str] = []
    inside = False
    for arg in args:
        value = arg
        if arg.startswith("-"):
            flag, _, value = arg.partition("=")
            flag = flag.replace("_", "-")
            inside = flag.startswith(SHORTEST_LORA_FLAG) and LORA_FLAG.startswith(flag)
        if inside and value:
            found += _names_in(value)
    return tuple(dict.fromkeys(found))


def _names_in(value: str) -> list[str]:
    if not value.startswith(("{", "[")):
        return [value.partition("=")[0]]
    try:
        parsed = json.loads(value)
    except ValueError:
        return []
    modules = parsed if isinstance(parsed, list) else [parsed]
    return [str(module["name"]) for module in modules if isinstance(module, dict) and "name" in module]
