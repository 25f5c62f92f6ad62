"""Who may use which model.

A non-empty `allowedTenants` always decides; otherwise the installation's access mode does. Must not see keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from modelfleet.core.routing.model import Fleet, Served


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Whom one model admits."""

    tenants: tuple[str, ...] | None
    """Tenants by name, sorted; None for everyone who has a valid key."""
    anonymous: bool = False
    """Whether a request without a key is admitted too."""
    keyless: bool = False
    """Whether requests without a key come as far as the model: in the access mode Open."""

    def admits(self, tenant: str | None) -> bool:
        """Whether this tenant (None: no key) may use the model.

        >>> Admission(tenants=("a",)).admits("b"), Admission(tenants=None).admits(None)
        (False, False)
        """
        if tenant is None:
            return self.anonymous
        return self.tenants is None or tenant in self.tenants


def admission(model: Served, *, fleet: Fleet, tenants: Iterable[str]) -> Admission:
    """Say whom a model admits, of the tenants that hold keys."""
    keyless = fleet.access == "Open"
    if model.allowed_tenants:
        return Admission(tenants=tuple(sorted(model.allowed_tenants)), keyless=keyless)
    if fleet.access == "Namespaced":
        inside = (t for t in tenants if model.namespace in fleet.namespaces.get(t, (t,)))
        return Admission(tenants=tuple(sorted(inside)))
    return Admission(tenants=None, anonymous=keyless, keyless=keyless)
