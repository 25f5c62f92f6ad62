"""What all tests of this tree share: settings of the programs that they start. No fixture."""

from __future__ import annotations

import os

# Kubernetes' own programs live for seconds here, and a third of their CPU time would be garbage collection.
os.environ.setdefault("GOGC", "400")
