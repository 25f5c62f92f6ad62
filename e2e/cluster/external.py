"""The user's own cluster, named by KUBECONFIG, in the place of an embedded one; changes nothing by itself.

It is reached through `kubectl proxy`, which knows every way to log in.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import yaml

from e2e.cluster import build
from e2e.cluster.client import Client
from e2e.cluster.paths import STATE_DIR
from e2e.cluster.process import Child, free_ports, wait_until

_START_SECONDS = 60.0


def configured() -> Path | None:
    """The user's kubeconfig; None when KUBECONFIG is not set, or names an embedded cluster as `up` advises to."""
    value = os.environ.get("KUBECONFIG")
    return Path(value) if value and not Path(value).resolve().is_relative_to(STATE_DIR.resolve()) else None


class External(Client):
    """A cluster that runs already, as a context manager like the embedded ones."""

    def __init__(self, *, kubeconfig: Path) -> None:
        super().__init__()
        self.kubeconfig = kubeconfig
        self.folder = Path(tempfile.mkdtemp(prefix="modelfleet-external-"))

    def __enter__(self) -> Self:
        port = free_ports(1)[0]
        self._proxy = Child(
            name="kubectl proxy",
            argv=[str(build.tool("kubectl")), f"--kubeconfig={self.kubeconfig}", "proxy", f"--port={port}"],
            log=self.folder / "proxy.log",
        )
        self._proxy.start()
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False)
        try:
            what = f"an answer of the cluster in {self.kubeconfig}"
            wait_until(self._ready, what=what, seconds=_START_SECONDS, watched=[self._proxy])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._proxy.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """Writes a kubeconfig that acts as another user, by impersonation."""
        document = yaml.safe_load(self.kubectl("config", "view", "--raw", "--minify", "--flatten"))
        document["users"][0]["user"] |= {"as": name, "as-groups": list(groups)}
        path = self.folder / f"{name.replace(':', '-')}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
        return path

    def _ready(self) -> bool:
        try:
            return self.http.get("/readyz").is_success
        except httpx.TransportError:
            return False
