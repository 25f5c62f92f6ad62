"""The table of reasons, and the other pure parts."""

import doctest
import json

import pytest
from modelfleet_supervisor import progress, reasons, settings
from modelfleet_supervisor.progress import Progress, Sample
from modelfleet_supervisor.reasons import reason_of

PREFIX = "(EngineCore pid=71) ERROR 11-21 14:40:00 [core.py:886] "


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            "OutOfMemory",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "OutOfMemory"),
        (
            "ValueError: To serve at least one request with the model's max seq len (1024), (0.5 GiB KV cache is needed",
            "OutOfMemory",
        ),
        (
            "ValueError: Free memory on device (1/80 GiB) on startup is less than desired GPU memory utilization (0.9)",
            "OutOfMemory",
        ),
        (
            "Value error, User-specified max_model_len (999) is greater than the derived max_model_len (512)",
            "ContextTooLong",
        ),
        ("huggingface_hub.errors.GatedRepoError: 403 Client Error.", "ModelAccessDenied"),
        ("Value error, Invalid repository ID or local directory specified: '/models/none'.", "ModelNotFound"),
        ("OSError: /m does not appear to have a file named config.json", "ModelNotFound"),
        ("OSError: Can't load tokenizer for '/m'.", "TokenizerMissing"),
        (
            "Value error, Total number of attention heads (9) must be divisible by tensor parallel size (2).",
            "ParallelismMismatch",
        ),
        ("RuntimeError: No CUDA GPUs are available", "InsufficientGPU"),
        ("OSError: [Errno 98] Address already in use", "PortInUse"),
        ("vllm serve: error: argument --max-model-len: invalid", "InvalidEngineArgument"),
        ("ValueError: something else", "InvalidEngineArgument"),
        ("Segfault or so", "EngineFailed"),
    ],
)
def test_line_becomes_reason_with_or_without_log_prefix(line, expected):
    for text in (line, PREFIX + line, f"\x1b[31m{PREFIX}\x1b[0m{line}\nTraceback follows"[:4000]):
        assert reason_of(tail=text, status=1).reason == expected, text


def test_message_quotes_the_line_and_says_what_to_do():
    said = reason_of(tail=f"noise\n{PREFIX}ValueError: No available memory for the cache blocks.\nmore noise", status=1)
    assert said.message.startswith("ValueError: No available memory for the cache blocks.; lower --max-model-len")


def test_message_is_short_valid_json():
    said = reason_of(tail="ValueError: " + "é" * 5000, status=1)
    assert len(json.loads(said.as_json())["message"]) <= reasons.LIMIT
    assert len(said.as_json().encode()) < 4096


def test_a_signal_is_not_explained_by_an_old_log_line():
    assert reason_of(tail="ValueError: long ago", status=-9).reason == "EngineDied"
    assert reason_of(tail="", status=-9, out_of_memory_killed=True).reason == "OutOfMemory"


def test_progress_suspects_only_silence():
    watch = Progress(hang_after=60, idle_probe_after=300)
    watch.moved(now=0)
    assert not watch.observe(sample=Sample(running=1, tokens=5), now=50)
    assert not watch.observe(sample=Sample(running=1, tokens=5), now=100)
    assert watch.observe(sample=Sample(running=1, tokens=5), now=110)
    assert not watch.observe(sample=Sample(running=0, tokens=5), now=340)
    assert watch.observe(sample=Sample(running=0, tokens=5), now=350)
    assert watch.observe(sample=None, now=351)
    assert not watch.observe(sample=Sample(running=1, tokens=6), now=352)


@pytest.mark.parametrize("module", [progress, reasons, settings])
def test_examples_in_the_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed
