"""Puts the supervisor and the harness on the path: they are no installed packages."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "supervisor"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# A program and helpers, not tests: --doctest-modules would import them.
collect_ignore = ["scripted_engine.py", "harness.py"]


def pytest_collection_modifyitems(config, items):
    """Tests on real vLLM run only when asked for: `pytest -m runtime`."""
    if "runtime" not in (config.option.markexpr or ""):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("runtime")])
        items[:] = [item for item in items if not item.get_closest_marker("runtime")]
