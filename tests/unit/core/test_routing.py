"""The route model's pure rules: weights, names, rights, digest."""

import dataclasses
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from modelfleet.core.routing.access import Admission, admission
from modelfleet.core.routing.digest import route_digest
from modelfleet.core.routing.model import ApiKey, Endpoint, Fleet, Revision, Served, Stickiness
from modelfleet.core.routing.resolve import adapter_names, resolve
from modelfleet.core.routing.weights import effective, requested

UP = (Endpoint(address="10.0.0.1"),)
EVERYONE = Admission(tenants=None)


def served(name: str, *revisions: Revision, **more) -> Served:
    given = {"uid": f"u-{name}", "namespace": "team-a", "created": "2026-01-01T00:00:00Z", "served_name": name}
    return Served(name=name, revisions=revisions, **{**given, **more})


revisions = st.lists(
    st.builds(
        Revision, name=st.sampled_from("abcdef"), weight=st.integers(0, 100), endpoints=st.sampled_from([(), UP])
    ),
    unique_by=lambda revision: revision.name,
    max_size=5,
)


@given(revisions)
def test_the_clamp(found: list[Revision]):
    wanted, applied = requested(found), effective(found)
    able = {r.name for r in found if r.endpoints and r.weight}
    assert applied.keys() == wanted.keys()
    for revision in found:
        if able:
            share = wanted[revision.name] if revision.name in able else 0
            assert applied[revision.name] == share, "what is left keeps its proportion"
        else:
            assert applied[revision.name] == wanted[revision.name], "nobody stands in who was given no traffic"


def test_without_weights_ready_replicas_decide():
    two = (*UP, Endpoint(address="10.0.0.2"))
    assert effective([Revision(name="a", endpoints=two), Revision(name="b", endpoints=UP)]) == {"a": 2, "b": 1}


def test_the_older_holds_a_name_then_the_first_in_the_alphabet():
    young = served("a", served_name="llm", created="2026-02-01T00:00:00Z")
    old = served("z", served_name="llm")
    same = served("y", served_name="llm")
    for models in permutations([young, old, same]):
        names = resolve(models)
        assert names.of == {"u-y": ("team-a/y", "llm"), "u-z": ("team-a/z",), "u-a": ("team-a/a",)}
        assert names.lost == {"u-z": {"llm": "team-a/y"}, "u-a": {"llm": "team-a/y"}}


def test_a_full_name_belongs_to_nobody_else():
    thief = served("thief", served_name="team-a/chat", created="2020-01-01T00:00:00Z")
    names = resolve([thief, served("chat")])
    assert names.of["u-chat"] == ("team-a/chat", "chat")
    assert names.lost == {"u-thief": {"team-a/chat": "team-a/chat"}}


def test_adapters_names_in_every_form_that_vllm_reads():
    assert adapter_names(["--enable-lora", "--lora-modules", "a=/x", '{"name": "b", "path": "/y"}']) == ("a", "b")
    assert adapter_names(["--lora_modules", '[{"name": "a"}, {"name": "b"}]', "--x", "c=d"]) == ("a", "b")
    assert adapter_names(["--lora-mod=a=/x", "--lora-dtype", "auto", "--max-lora-rank=8"]) == ("a",)
    assert adapter_names(["--lora-modules", "{broken"]) == ()
    assert adapter_names([]) == ()


def test_who_is_admitted():
    chat = served("chat")

    def by(access: str, model: Served = chat, **namespaces: tuple[str, ...]) -> Admission:
        fleet = Fleet(models=(model,), access=access, namespaces=namespaces)
        return admission(model, fleet=fleet, tenants=("team-a", "team-b"))

    assert by("Namespaced") == Admission(tenants=("team-a",))
    assert by("Namespaced", **{"team-b": ("team-a", "x"), "team-a": ("y",)}) == Admission(tenants=("team-b",))
    assert by("AnyKey") == Admission(tenants=None)
    assert by("Open") == Admission(tenants=None, anonymous=True, keyless=True)
    named = served("chat", allowed_tenants=("z", "b"))
    assert by("Namespaced", named) == by("AnyKey", named) == Admission(tenants=("b", "z"))
    assert by("Open", named) == Admission(tenants=("b", "z"), keyless=True)


def test_a_digest_is_the_same_for_the_same_content_and_for_nothing_else():
    one, other = Endpoint(address="10.0.0.1"), Endpoint(address="10.0.0.2")
    base = served("chat", Revision(name="r1", weight=9, endpoints=(one, other)), Revision(name="r2", weight=1))

    def digest(model: Served, names: tuple[str, ...] = ("a", "b"), rights: Admission = EVERYONE) -> str:
        return route_digest(model, names=names, admission=rights)

    turned = dataclasses.replace(
        base, revisions=(Revision(name="r2", weight=1), Revision(name="r1", weight=9, endpoints=(other, one)))
    )
    assert digest(base) == digest(turned) == digest(base, ("b", "a"))
    assert digest(base) == "a4f634102605a916", "control replicas of two versions compare digests"
    changed = [
        digest(dataclasses.replace(base, revisions=(Revision(name="r1", weight=9, endpoints=(one,)),))),
        digest(dataclasses.replace(base, revisions=(base.revisions[0], Revision(name="r2", endpoints=UP)))),
        digest(dataclasses.replace(base, balance="PrefixAffinity")),
        digest(dataclasses.replace(base, stickiness=Stickiness(by="ApiKey"))),
        digest(base, ("a",)),
        digest(base, rights=Admission(tenants=("a",))),
    ]
    assert len({digest(base), *changed}) == len(changed) + 1


def test_a_key_is_in_no_repr():
    assert "sk-1" not in repr(Fleet(keys=(ApiKey(tenant="a", key="sk-1"),)))
