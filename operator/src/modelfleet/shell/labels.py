"""Labels by which the watches know our objects, and that somebody took away: what puts them back.

An object without them is in no watch, and its name is taken all the same. The labels of a ControllerRevision the API server
lets hardly anyone change, the operator neither: a patch writes its template in other bytes, and that is refused, and told.
Must not write, and never says anything of an object that is not ours by the UID of its controller, or is on its way out.
"""

from collections.abc import Mapping
from typing import Any


def repair(found: Mapping[str, Any], *, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the merge patch that makes the metadata of an object of ours what it was; None when there is nothing to do.

    >>> owner = {"uid": "1", "controller": True}
    >>> wanted = {"metadata": {"labels": {"of": "chat"}, "ownerReferences": [owner]}}
    >>> found = {"metadata": {"resourceVersion": "7", "labels": {"of": "x", "b": "2"}, "ownerReferences": [owner]}}
    >>> repair(found, wanted=wanted)
    {'metadata': {'resourceVersion': '7', 'labels': {'of': 'chat'}}}

    Somebody else's stays as it is, and so does what is being deleted:

    >>> repair({"metadata": {**found["metadata"], "ownerReferences": [{"uid": "2", "controller": True}]}}, wanted=wanted)
    >>> repair({"metadata": {**found["metadata"], "deletionTimestamp": "now"}}, wanted=wanted)
    """
    is_, should = found["metadata"], wanted["metadata"]
    if "deletionTimestamp" in is_ or not (_controllers(is_) & _controllers(should)):
        return None
    has = is_.get("labels") or {}
    labels = {key: value for key, value in (should.get("labels") or {}).items() if has.get(key) != value}
    # An annotation that is there says how the object came to be; today's words would not be true of it.
    said = is_.get("annotations") or {}
    notes = {key: value for key, value in (should.get("annotations") or {}).items() if key not in said}
    if not labels and not notes:
        return None
    return {
        "metadata": {"resourceVersion": is_["resourceVersion"]}
        | ({"labels": labels} if labels else {})
        | ({"annotations": notes} if notes else {})
    }


def _controllers(meta: Mapping[str, Any]) -> set[str]:
    return {owner["uid"] for owner in meta.get("ownerReferences") or () if owner.get("controller")}
