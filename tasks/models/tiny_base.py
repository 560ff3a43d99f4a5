"""A tiny randomly initialised Llama with a tokenizer trained on the spot: for smoke runs and tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from configs.schema import TinyBase

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BEGIN, END = "<pad>", "<s>", "</s>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)

TRAINING_TEXT = """\
Burnish takes the examples of an organisation and a pretrained language model and ends with a fine-tune that is proven,
or with the proof that something cheaper is enough. The question was answered in the morning, the answer was short.
The patient was seen for an acute infection of the upper respiratory tract, with fever, cough and a sore throat.
Fracture of the lower end of the left radius, initial encounter for closed fracture. Pain in the right shoulder.
Diabetes mellitus with chronic kidney disease and hypertension. Malignant neoplasm of the bronchus or lung.
Congenital malformation of the heart, unspecified. Disorder of the skin and subcutaneous tissue.
Please send the invoice for the order to the new address. The delivery was late and the parcel was damaged.
I want to return the shoes and have my money back. My card was charged twice for the same ticket.
How do I change the password of my account? The app shows an error whenever I open the settings page.
label: billing, label: delivery, label: account, label: technical, label: other. prompt: completion: term: chapter:
The red apples and the green pears stand on the wooden table; four cats and two dogs sleep under the chair.
One two three four five six seven eight nine ten eleven twelve. 0 1 2 3 4 5 6 7 8 9 10 20 50 100 1000 2026.
"""
"""What the tokenizer is trained on; it caps the vocabulary at about 1,000 tokens."""

_HEAD_WIDTH = 16
_LONGEST_INPUT = 8192
_FINAL_NORM = 10.0


def build_tiny_base(source: TinyBase, target: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer files into `target`; equal sources give equal bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(source.vocabulary)
    heads = max(1, source.hidden_size // _HEAD_WIDTH)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=source.hidden_size,
        intermediate_size=2 * source.hidden_size,
        num_hidden_layers=source.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=_HEAD_WIDTH,
        max_position_embeddings=_LONGEST_INPUT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        model = LlamaForCausalLM(config)
    # random logits are too flat for an adapter to move while the output layer is frozen
    torch.nn.init.constant_(model.model.norm.weight, _FINAL_NORM)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def train_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer of at most `vocabulary` tokens on `TRAINING_TEXT`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT.splitlines(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        model_max_length=_LONGEST_INPUT,
        chat_template=CHAT_TEMPLATE,
    )
