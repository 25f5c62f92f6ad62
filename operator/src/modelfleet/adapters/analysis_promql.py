"""The PromQL of a judgement: two range queries per window, whatever the number of pods and Envoys.

Beside `analysis.py`, which sends them and reads the answers. Raw counters, no `rate()`: the core does resets and gaps
itself. Of the labels of a target only `namespace` and `pod` are required. Must not hold anything but text.
"""

from typing import Final

from modelfleet.core.judgement.question import FRESH_INTERVALS, Question
from modelfleet.core.judgement.series import BORN, FINISHED, GENERATED, HISTOGRAMS, Latency, bucket
from modelfleet.core.routing import measures

REASON: Final = "finished_reason"
_OF_GATEWAY: Final = (
    measures.STARTED,
    measures.ATTEMPTS_STARTED,
    measures.ATTEMPTS,
    measures.FIRST_ATTEMPTS,
    measures.REQUESTS,
)


def of_gateway(question: Question) -> str:
    """Ask what every Envoy counted for the two revisions, by outcome.

    `max` over what tells scrapes of the same Envoy apart, so that one found by two jobs is not counted twice; then the
    sum over tenants. Envoys stay apart: each starts anew by itself.
    """
    names = "|".join(measure.name for measure in _OF_GATEWAY)
    of_model = (
        f'{measures.NAMESPACE}="{question.namespace}",{measures.NAME}="{question.name}",'
        f'{measures.REVISION}=~"{question.canary}|{question.stable}"'
    )
    kept = f"__name__, namespace, pod, {measures.REVISION}, {measures.OUTCOME}"
    fresh = _fresh(measures.STARTED.name, where=of_model, question=question)
    return (
        f"sum by ({kept}) (max by ({kept}, {measures.TENANT}) "
        f'({{__name__=~"{names}",{of_model}}} and on (namespace, pod) {fresh}))'
    )


def of_engines(question: Question) -> str:
    """Ask what every pod of the two revisions counted, also of those that are gone.

    Of a histogram only its count and the buckets at the bounds; both of the same histogram, so that they belong together.
    """
    histograms = "|".join(name for names in HISTOGRAMS.values() for name in names)
    pods = f'namespace="{question.namespace}",pod=~"{question.name}-({question.canary}|{question.stable})-.+"'
    names = f"({histograms})_(count|bucket)|{FINISHED}|{GENERATED}|{BORN}"
    # No `le` at all is the count, and everything that is no histogram.
    bounds = "|".join(_number(bound(question, metric=metric)) for metric in HISTOGRAMS)
    kept = f"__name__, pod, le, {REASON}"
    fresh = _fresh(f"{HISTOGRAMS['ttft'][0]}_count", where=pods, question=question)
    return (
        f"sum by ({kept}) (max by ({kept}, engine, model_name) "
        f'({{__name__=~"{names}",{pods},le=~"|{bounds}"}} and on (pod) {fresh}))'
    )


def bound(question: Question, *, metric: Latency) -> float:
    """Answer the bucket that a wanted bound is measured by."""
    wanted = question.ttft_within if metric == "ttft" else question.inter_token_within
    return bucket(metric=metric, within=wanted)


def _fresh(series: str, *, where: str, question: Question) -> str:
    """Hold for processes with a sample that is fresh at the moment in question.

    Prometheus alone would pass off a sample of up to 5 minutes ago as current. `timestamp()` sees the time of a sample
    only on a bare name, and all samples of a process are of the same scrape: one name speaks for the others.
    """
    seconds = FRESH_INTERVALS * question.interval_seconds
    return f"(timestamp({series}{{{where}}}) > time() - {seconds:g})"


def _number(bound: float) -> str:
    """Match a bucket's bound however it is written.

    >>> _number(1.0), _number(0.05)
    ('1([.]0)?', '0[.]05')
    """
    whole, _, part = f"{bound:g}".partition(".")
    return f"{whole}[.]{part}" if part else f"{whole}([.]0)?"
