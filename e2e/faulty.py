"""Plug-ins of vLLM (`--middleware=faulty.NAME`) that break a release as bad releases break.

Mounted into the engine's container, which has nothing else of this repository; so must not import any of it. Only what
came by the gateway counts: the engine's own first token, by which it becomes ready, is as good as ever.
"""

import json
import os
import signal
from typing import Any

LIVES = 10
"""Requests that `Dies` carries."""


class Plugin:
    """Puts itself before every request that a gateway sent."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as ASGI wants it."""
        sent = scope["type"] == "http" and scope["method"] == "POST"
        if not sent or not any(name == b"x-request-id" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        self._asked += 1
        await self.broken(scope, receive, send)

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:
        """Do what is wrong, and what is right if anything is left of it."""
        await self._app(scope, receive, send)

    async def _answer(self, send: Any, *, status: int, kind: str, text: str) -> None:
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})


class Errors(Plugin):
    """An error instead of each answer."""

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - as ASGI wants it
        error = {"error": {"message": "the plug-in failed", "type": "InternalServerError", "code": 500}}
        await self._answer(send, status=500, kind="application/json", text=json.dumps(error))


class Empty(Plugin):
    """Whole streams without one word."""

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - as ASGI wants it
        whose = {"id": f"cmpl-{self._asked}", "object": "text_completion", "created": 0, "model": "chat"}
        nothing = [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 4, "total_tokens": 4, "completion_tokens": 0}
        events = [{**whose, "choices": nothing}, {**whose, "choices": [], "usage": usage}]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        await self._answer(send, status=200, kind="text/event-stream; charset=utf-8", text=text)


class Dies(Plugin):
    """The process ends at once, with all that it has begun."""

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:
        if self._asked > LIVES:
            os.kill(os.getpid(), signal.SIGKILL)
        await super().broken(scope, receive, send)
