"""Judges a canary against stable by a sequential test on counts.

`judge()` takes what was measured in one window (a step at one weight) and answers with a frozen `StepVerdict`. It keeps
nothing: the blocks are read from Prometheus again on every pass, and the one thing that must outlive a window, `Carried`,
is two small values for status. The mathematics is told in docs/explanation/judgement.md. No I/O, no clock, no state.
"""

from modelfleet.core.judgement.alone import judge_alone
from modelfleet.core.judgement.config import Config, CustomLimit, MetricConfig, default_config
from modelfleet.core.judgement.inputs import ArmBlock, Block, Carried, Counts, CustomValues, Window
from modelfleet.core.judgement.step import judge, next_carried
from modelfleet.core.judgement.verdict import MetricVerdict, Outcome, StepVerdict

__all__ = [
    "ArmBlock",
    "Block",
    "Carried",
    "Config",
    "Counts",
    "CustomLimit",
    "CustomValues",
    "MetricConfig",
    "MetricVerdict",
    "Outcome",
    "StepVerdict",
    "Window",
    "default_config",
    "judge",
    "judge_alone",
    "next_carried",
]
