"""What a test does as administrator of any cluster: apply, ask, run kubectl. Starts no server and knows no level."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml

from e2e.cluster import build
from e2e.cluster.process import wait_until
from e2e.cluster.resources import collection_path, load_manifests


class Client:
    """An administrator of a cluster.

    Attributes:
        url: Where the API server listens.
        kubeconfig: The administrator's.
    """

    url = ""
    kubeconfig = Path()

    def __init__(self) -> None:
        self._http: httpx.Client | None = None

    @property
    def http(self) -> httpx.Client:
        """An HTTP client with the administrator's rights whose base URL is the API server."""
        if self._http is None:
            raise RuntimeError("the cluster is not started: use it in a `with` statement")
        return self._http

    def close(self) -> None:
        """Closes the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def apply(self, manifest: dict[str, Any], *, field_manager: str = "test") -> dict[str, Any]:
        """Applies one object by server-side apply; for a CRD, returns when it is served.

        Raises:
            httpx.HTTPStatusError: The API server refused; its message is in the error.
        """
        path = f"{collection_path(manifest)}/{manifest['metadata']['name']}"
        answer = self.http.patch(
            path,
            params={"fieldManager": field_manager, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=yaml.safe_dump(manifest),
        )
        if answer.is_error:
            raise httpx.HTTPStatusError(f"{path}: {_words(answer)}", request=answer.request, response=answer)
        if manifest["kind"] == "CustomResourceDefinition":
            wait_until(lambda: self._served(manifest), what=f"serving {path}", seconds=60.0)
        found: dict[str, Any] = answer.json()
        return found

    def apply_files(self, folder: Path) -> list[str]:
        """Applies every manifest of a folder's YAML files in order of file name; returns the objects' names."""
        manifests = load_manifests(folder)
        for manifest in manifests:
            self.apply(manifest)
        return [manifest["metadata"]["name"] for manifest in manifests]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as administrator and returns what it printed.

        Raises:
            subprocess.CalledProcessError: It failed; its words are in `stderr`.
        """
        argv = [str(build.tool("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout

    def _served(self, crd: dict[str, Any]) -> bool:
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        served = [version["name"] for version in crd["spec"]["versions"] if version["served"]]
        return all(self.http.get(f"/apis/{group}/{each}/{plural}", params={"limit": 1}).is_success for each in served)


def _words(answer: httpx.Response) -> str:
    """What the API server said, without the rest of its Status object."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError):
        return answer.text
