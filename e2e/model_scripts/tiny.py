"""Runs inside the vLLM image: a random Qwen2 with the small tokenizer of its own, in /out."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

torch.manual_seed(0)
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=512,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
)
tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog"], trainer)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")  # noqa: S106
fast.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
config = Qwen2Config(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    max_position_embeddings=4096,
    eos_token_id=0,
    bos_token_id=0,
    tie_word_embeddings=False,
)
Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained("/out")
fast.save_pretrained("/out")
print(sorted(p.name for p in Path("/out").iterdir()))
