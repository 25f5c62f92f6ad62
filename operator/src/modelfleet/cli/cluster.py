"""Reads one LLMDeployment for the CLI, with the person's own kubeconfig.

Sits in the CLI, beside the operator's adapters and without their needs: one read, then done. It must not
write. Errors become `CannotRead`, whose text says what to do next.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from kubernetes import aio

GROUP: Final = "modelfleet.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "llmdeployments"
TIMEOUT_SECONDS: Final = 10
NOT_FOUND: Final = 404
FORBIDDEN: Final = (401, 403)


class CannotRead(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The LLMDeployment could not be read; the text says why and what to do."""


def read(*, name: str, namespace: str | None, context: str | None) -> dict[str, Any]:
    """Read an LLMDeployment.

    Args:
        name: Its name.
        namespace: Its namespace; None means the kubeconfig context's own.
        context: The kubeconfig context; None means the current one.

    Raises:
        CannotRead: There is no such object, no such API, no right to read it, or no cluster.
    """
    return asyncio.run(_read(name=name, namespace=namespace, context=context))


async def _read(*, name: str, namespace: str | None, context: str | None) -> dict[str, Any]:
    try:
        where = namespace or _namespace_of(context)
        client = await aio.config.new_client_from_config(context=context)
    except Exception as error:
        raise CannotRead(f"No usable kubeconfig: {error}. Set KUBECONFIG, or check --context.") from error
    async with client:
        try:
            answer = await aio.client.CustomObjectsApi(client).get_namespaced_custom_object(
                GROUP, VERSION, where, PLURAL, name, _request_timeout=TIMEOUT_SECONDS
            )
        except aio.client.ApiException as error:
            raise CannotRead(_why(status=int(error.status or 0), name=name, namespace=where)) from error
        except Exception as error:
            raise CannotRead(f"The cluster does not answer: {error}. Check it with `kubectl version`.") from error
    return dict(answer)


def _namespace_of(context: str | None) -> str:
    contexts, active = aio.config.list_kube_config_contexts()
    chosen = next((c for c in contexts if c["name"] == context), active) if context else active
    return str(chosen["context"].get("namespace") or "default")


def _why(*, status: int, name: str, namespace: str) -> str:
    if status == NOT_FOUND:
        return (
            f"No LLMDeployment {name} in {namespace}. `kubectl get llmdep -A` lists all; "
            "if it knows no such resource, install the chart first."
        )
    if status in FORBIDDEN:
        return f"You may not read llmdeployments.modelfleet.dev in {namespace}: ask for the right `get` on it."
    return f"The API server answered {status} for {name} in {namespace}: try again, then look at its log."
