"""Words that several commands take alike. Sits under the commands; it must not parse or decide."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="Name of the LLMDeployment.", metavar="NAME")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Its namespace. Default: that of the kubeconfig context.")
]
Context = Annotated[str | None, typer.Option(help="The kubeconfig context. Default: the current one.")]
