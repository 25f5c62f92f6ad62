import re

import pytest

from modelfleet.api.v1alpha1.flags import VLLM_OWNED, pattern


def refused(argument: str) -> bool:
    return any(
        re.search(pattern(flag), argument) and argument not in owned.allowed
        for owned in VLLM_OWNED
        for flag in owned.flags
    )


@pytest.mark.parametrize("flag", [flag for owned in VLLM_OWNED for flag in owned.flags])
def test_an_owned_flag_is_refused_in_every_spelling(flag: str) -> None:
    words = flag.lstrip("-")
    spellings = {flag, f"{flag}=2", flag[: len(flag) - len(words)] + words.replace("-", "_")}
    assert {spelling: refused(spelling) for spelling in spellings} == dict.fromkeys(spellings, True)


@pytest.mark.parametrize("abbreviation", ["--api-k=x", "--served-model", "--shutdown-time", "--tensor-parallel=2"])
def test_abbreviations_that_the_engine_would_complete_are_refused(abbreviation: str) -> None:
    assert refused(abbreviation)


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
