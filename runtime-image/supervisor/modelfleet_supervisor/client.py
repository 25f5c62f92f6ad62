"""The few questions that the supervisor asks the engine over HTTP.

Blocking; callers use threads. It must not decide anything: it answers or raises.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from modelfleet_supervisor.progress import Sample, parse

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class EngineError(Exception):
    """The engine did not answer, or not as it should."""


@dataclass(frozen=True, kw_only=True)
class EngineClient:
    """Asks one engine."""

    url: str
    api_key: str | None = None

    def sample(self, *, timeout: float) -> Sample:
        """What the engine's metrics say now."""
        return parse(self._ask("/metrics", timeout=timeout).decode(errors="replace"))

    def one_token(self, *, timeout: float) -> None:
        """Have one token generated, or one embedding computed by a model that generates none.

        Raises:
            EngineError: nothing came back in `timeout` seconds, or an error did; the message quotes it.
        """
        model = self._json("/v1/models", timeout=timeout)["data"][0]["id"]
        body = {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
        try:
            answer = self._json("/v1/completions", body=body, timeout=timeout)
        except EngineError as error:
            # A pooling model has no such route (404), or says that it does not support it (400).
            if getattr(error.__cause__, "code", None) not in {400, 404}:
                raise
            try:
                answer = self._json("/v1/embeddings", body={"model": model, "input": "Hello"}, timeout=timeout)
            except EngineError as second:
                raise EngineError(f"{error}; {second}") from second
        if not (answer.get("choices") or answer.get("data")):
            raise EngineError(f"no token in the answer: {str(answer)[:200]}")

    def _json(self, path: str, *, timeout: float, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = json.loads(self._ask(path, body=body, timeout=timeout))
        except ValueError as error:
            raise EngineError(f"{path}: the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise EngineError(f"{path}: the answer is not an object")
        return answer

    def _ask(self, path: str, *, timeout: float, body: dict[str, Any] | None = None) -> bytes:
        request = urllib.request.Request(  # noqa: S310  # the URL is this pod's own engine
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if self.api_key:
            request.add_header("Authorization", f"Bearer {self.api_key}")
        try:
            with _NO_PROXY.open(request, timeout=timeout) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            said = error.read(300).decode(errors="replace")
            raise EngineError(f"{path}: {error.code} {said}") from error
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"{path}: {error}") from error
