import argparse
import re
from itertools import product
from pathlib import Path

import pytest

from modelfleet.api.v1alpha1.flags import VLLM_OWNED, pattern

OWNED = [flag for owned in VLLM_OWNED for flag in owned.flags]
VLLM = (Path(__file__).parent / "vllm_flags.txt").read_text().split()
"""Every flag of `vllm serve` 0.32, as its parser has them."""


class RefusedError(Exception):
    """The parser knows no such flag, or more than one."""


class Parser(argparse.ArgumentParser):
    """Reads flags as vLLM does; says which one an argument means."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        for flag in VLLM:
            self.add_argument(flag, dest=flag, nargs="?", const="given")

    def error(self, message: str) -> None:
        raise RefusedError(message)

    def means(self, *arguments: str) -> set[str]:
        try:
            return {flag for flag, value in vars(self.parse_args(arguments)).items() if value is not None}
        except RefusedError:
            return set()


def refused(argument: str) -> bool:
    return any(
        re.search(pattern(flag), argument) and argument not in owned.allowed
        for owned in VLLM_OWNED
        for flag in owned.flags
    )


@pytest.mark.parametrize("flag", OWNED)
def test_an_owned_flag_is_refused_in_every_spelling(flag: str) -> None:
    words = flag.lstrip("-")
    spellings = {flag, f"{flag}=2", flag[: len(flag) - len(words)] + words.replace("-", "_")}
    assert {spelling: refused(spelling) for spelling in spellings} == dict.fromkeys(spellings, True)


@pytest.mark.parametrize("flag", OWNED)
def test_every_abbreviation_that_the_engine_would_complete_is_refused(flag: str) -> None:
    parser, shortest = Parser(), len(flag) - len(flag.lstrip("-")) + 1
    prefixes = [flag[:length] for length in range(shortest, len(flag) + 1)]
    ways = [prefix + value for prefix, value in product(prefixes, ("", "=2", "2"))]
    completed = {way for way in ways if parser.means(way) == {flag}}
    assert completed >= {flag, f"{flag}=2"}
    assert {way: refused(way) for way in completed} == dict.fromkeys(completed, True)


@pytest.mark.parametrize(
    "argument",
    ["--shut=1", "--serv=x", "--tensor=2", "--ho=1.2.3.4", "--api-k=x", "-t", "-pc", "-n2", "-r=1", "--served.a=b"],
)
def test_what_would_override_the_operators_own_arguments_is_refused(argument: str) -> None:
    assert refused(argument)


def test_no_other_flag_of_the_engine_is_refused() -> None:
    assert {flag for flag in VLLM if refused(flag) or refused(f"{flag}=2")} == set(OWNED)


@pytest.mark.parametrize(
    "argument",
    [
        "--max-model-len=8192",
        "8192",
        "--model-impl=auto",
        "--max-num-seqs",
        "--host-like",
        "--disable-log-requests",
        "--enforce-eager",
        "--kv-cache-memory-bytes=64M",
        "--api-server-count=1",
        "--hf-overrides={}",
        "--data-parallel-backend=mp",
        "--config-format=hf",
        "--tokenizer-revision=main",
        "",
    ],
)
def test_all_other_arguments_pass(argument: str) -> None:
    assert not refused(argument)
