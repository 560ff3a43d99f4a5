"""The registered model: a LoRA adapter that finds its base by digest and answers as the trainer's model does.

MLflow copies this file into each version and runs it from there ("models from code"). So it imports nothing of
Burnish, is one file on purpose (docs/decisions/0008-one-file-model.md), and is simple rather than fast. What stands
beside it: `adapter/` in peft's layout and `spec.json`.
The base model is looked for in `model_config["base_directory"]` (given when loading), in the folders of the
environment variable BURNISH_BASE_DIRS, and where it lay at registration; in each as itself or as `<digest>/`.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

_PLACEHOLDER = "\ufdd0{}\ufdd1"
_LABELS_AT_ONCE = 8

Pieces = list[tuple[str, bool]]
"""Text, and whether it is the template's own: only there does the spelling of a special token count as one."""


class AdapterModel(PythonModel):  # type: ignore[misc]
    """Answers rows with `prompt`, or `messages` (JSON) and `tools` (JSON), and the metadata columns of the template."""

    def load_context(self, context: Any) -> None:
        """Load base, adapter and tokenizer; refuse them if a byte differs from what was registered."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        spec = json.loads(Path(context.artifacts["spec"]).read_text(encoding="utf-8"))
        adapter = Path(context.artifacts["adapter"])
        _check_files(adapter, spec["adapter_files"], what="adapter")
        base = _find_base(spec, (context.model_config or {}).get("base_directory"))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        loaded = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=torch.float32 if spec["precision"] == "fp32" else torch.bfloat16,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **(_four_bits(device) if spec["precision"] == "nf4" else {}),
        )
        adapted = PeftModel.from_pretrained(loaded, str(adapter)).to(device).eval()
        self._model = adapted.get_base_model()
        for module in self._model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False  # other kernels than the trainer's, with other rounding
        self._model.get_output_embeddings().register_forward_pre_hook(_copied)
        self._spec = spec
        self._writer = _PromptWriter(
            spec["template"],
            AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False),
            context_tokens=self._model.config.get_text_config(decoder=True).max_position_embeddings
            - spec["max_new_tokens"],
        )

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[Any]:
        """Answer each row.

        Args:
            context: MLflow's; not used.
            model_input: the rows.
            params: `mode` ("answer", or "logits" for the parity check), `batch_size` (rows at once) and `drafts` (JSON:
                guesses at the rows' tokens, which need not be decoded where one pass finds that the model says them).

        Returns:
            One text for each row; in mode "logits" one {"tokens": ids, "logits": first step's, fp32} for each row,
            decoded greedily whatever the model's own decoding.
        """
        import torch

        params = params or {}
        rows = [_row(values, takes_tools=self._spec["takes_tools"]) for values in model_input.to_dict(orient="records")]
        scores_labels = self._spec["decoding"] == "label_scoring" and params.get("mode") != "logits"
        bf16 = self._spec["precision"] != "fp32"
        with torch.no_grad(), torch.autocast(self._model.device.type, dtype=torch.bfloat16, enabled=bf16):
            size = max(1, int(params.get("batch_size", 8)))
            if scores_labels:
                batches = [rows[start : start + size] for start in range(0, len(rows), size)]
                return [label for batch in batches for label in self._best_labels(batch)]
            drafts = json.loads(params.get("drafts") or "[]") or [None] * len(rows)
            decoded: list[tuple[list[int], Any]] = []
            for start in range(0, len(rows), size):
                batch, guesses = rows[start : start + size], drafts[start : start + size]
                decoded += self._confirmed(batch, guesses) or self._decode(batch)
        if params.get("mode") == "logits":
            return [{"tokens": tokens, "logits": logits} for tokens, logits in decoded]
        return [self._writer.text(tokens) for tokens, _ in decoded]

    def _decode(self, rows: Sequence[dict[str, Any]]) -> list[tuple[list[int], Any]]:
        """Return each row's greedy tokens, its end token left out, and the logits of its first step."""
        import torch
        from transformers import DynamicCache

        tokens, mask, positions = self._padded([self._writer.prompt_ids(row) for row in rows])
        stops = [self._writer.end_token_id(row) for row in rows]
        cache, first = DynamicCache(config=self._model.config), None
        answers: list[list[int]] = [[] for _ in rows]
        running = set(range(len(rows)))
        for _ in range(self._spec["max_new_tokens"]):
            logits = self._logits(tokens, cache, attention_mask=mask, position_ids=positions, logits_to_keep=1)[:, -1]
            first = logits if first is None else first
            chosen = logits.argmax(dim=-1)
            ids = chosen.tolist()
            running = {row for row in running if ids[row] != stops[row]}
            if not running:
                break
            for row in running:
                answers[row].append(ids[row])
            tokens, positions = chosen[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(tokens)], dim=1)
        assert first is not None
        return list(zip(answers, first.cpu().numpy(), strict=True))

    def _confirmed(
        self, rows: Sequence[dict[str, Any]], drafts: Sequence[list[int] | None]
    ) -> list[tuple[list[int], Any]] | None:
        """Return what `_decode` does where every draft is what the model says at each step, else None."""
        from transformers import DynamicCache

        if None in drafts:
            return None
        stops = [self._writer.end_token_id(row) for row in rows]
        limit = self._spec["max_new_tokens"]
        wanted = [
            [*itertools.takewhile(stop.__ne__, draft or ()), stop][:limit]
            for draft, stop in zip(drafts, stops, strict=True)
        ]
        prompts = [self._writer.prompt_ids(row) for row in rows]
        drafted = [prompt + steps[:-1] for prompt, steps in zip(prompts, wanted, strict=True)]
        tokens, mask, positions = self._padded(drafted)
        logits = self._logits(
            tokens,
            DynamicCache(config=self._model.config),
            attention_mask=mask,
            position_ids=positions,
            logits_to_keep=max(map(len, wanted)),
        )
        said = logits.argmax(dim=-1).tolist()
        if any(row[-len(steps) :] != steps for row, steps in zip(said, wanted, strict=True)):
            return None
        return [
            ([token for token in steps if token != stop], row[-len(steps)].cpu().numpy())
            for row, steps, stop in zip(logits, wanted, stops, strict=True)
        ]

    def _padded(self, prompts: Sequence[list[int]]) -> tuple[Any, Any, Any]:
        """Return [rows, longest] tokens, padded on the left, 1 where there is one, and the position of each."""
        import torch

        longest, pad = max(map(len, prompts)), self._writer.pad_token_id
        tokens = [[pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        there = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        mask = torch.tensor(there, device=self._model.device)
        return torch.tensor(tokens, device=self._model.device), mask, (mask.cumsum(1) - 1).clamp(min=0)

    def _best_labels(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """Return the label of each row whose tokens, its end token included, are the most probable after its prompt."""
        from transformers import DynamicCache

        labels = self._spec["labels"]
        ids = [[self._writer.label_ids(row, label) for label in labels] for row in rows]
        tokens, mask, positions = self._padded([self._writer.prompt_ids(row) for row in rows])
        cache = DynamicCache(config=self._model.config)
        logits = self._logits(tokens, cache, attention_mask=mask, position_ids=positions, logits_to_keep=1)[:, -1]
        first = logits.log_softmax(dim=-1)
        searches = [
            _LabelSearch([float(logs[label[0]]) for label in row]) for logs, row in zip(first, ids, strict=True)
        ]
        while asked := [(row, number) for row, search in enumerate(searches) for number in search.next_labels()]:
            asked.sort(key=lambda pair: len(ids[pair[0]][pair[1]]))  # little padding
            for start in range(0, len(asked), _LABELS_AT_ONCE):
                some = asked[start : start + _LABELS_AT_ONCE]
                later = self._continuations(
                    cache, mask, rows=[row for row, _ in some], labels=[ids[row][number] for row, number in some]
                )
                for (row, number), log in zip(some, later, strict=True):
                    searches[row].note(number, log)
        return [str(labels[search.best]) for search in searches]

    def _continuations(self, cache: Any, mask: Any, *, rows: Sequence[int], labels: Sequence[list[int]]) -> list[float]:
        """Return the log-probability of each label's tokens after its first one, behind a row's prompt in `cache`."""
        import torch

        longest = max(map(len, labels)) - 1
        if longest == 0:
            return [0.0] * len(labels)
        repeated = copy.copy(cache)
        repeated.layers = [copy.copy(layer) for layer in cache.layers]
        repeated.batch_select_indices(torch.tensor(rows, device=self._model.device))
        padded = [label[:-1] + [0] * (longest + 1 - len(label)) for label in labels]
        tokens = torch.tensor(padded, device=self._model.device)
        seen = torch.cat([mask[rows], torch.ones_like(tokens)], dim=1)
        positions = (seen.cumsum(1) - 1)[:, -longest:]
        logits = self._logits(tokens, repeated, attention_mask=seen, position_ids=positions)
        sums = []
        for row, label in zip(logits, labels, strict=True):
            wanted = torch.tensor(label[1:], device=row.device)
            steps = row[: len(wanted)]
            sums.append(float((steps.gather(1, wanted[:, None])[:, 0] - steps.logsumexp(dim=-1)).sum()))
        return sums

    def _logits(self, tokens: Any, cache: Any, **arguments: Any) -> Any:
        return self._model(input_ids=tokens, past_key_values=cache, use_cache=True, **arguments).logits.float()


class _LabelSearch:
    """Which labels of a row can still be its best: a label's probability only falls with each token."""

    def __init__(self, starts: Sequence[float]) -> None:
        """Begin with the log-probability of each label's first token."""
        self._starts = starts
        self._scores = [-math.inf] * len(starts)
        self._left = sorted(range(len(starts)), key=lambda number: (-starts[number], number))

    def next_labels(self) -> list[int]:
        """Return some that begin with the likeliest first token not looked at yet; none when the best is known."""
        if not self._left or self._starts[self._left[0]] < max(self._scores):
            return []
        likeliest = self._starts[self._left[0]]
        some = [number for number in self._left[:_LABELS_AT_ONCE] if self._starts[number] == likeliest]
        some = some or self._left[:1]  # of numbers that are none, none equals another
        self._left = self._left[len(some) :]
        return some

    def note(self, number: int, later: float) -> None:
        """Take in the log-probability of a label's other tokens."""
        self._scores[number] = self._starts[number] + later

    @property
    def best(self) -> int:
        """The most probable label; the first one of equals."""
        return max(range(len(self._scores)), key=self._scores.__getitem__)


class _PromptWriter:
    """Turns rows into prompts and labels into tokens exactly as in training."""

    def __init__(self, template: Mapping[str, Any], tokenizer: Any, *, context_tokens: int) -> None:
        added = {token.content: int(index) for index, token in tokenizer.added_tokens_decoder.items() if token.special}
        named = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in tokenizer.all_special_tokens}
        self._special = {**named, **added}
        spellings = sorted(self._special, key=lambda token: (-len(token), token))
        self._pattern = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")
        self._template = template
        self._tokenizer = tokenizer
        self._max_tokens = min(template["max_tokens"], context_tokens)
        self._environment = _sandbox()
        self.pad_token_id = int(tokenizer.pad_token_id or 0)

    def prompt_ids(self, row: dict[str, Any]) -> list[int]:
        """Return the tokens of a row's prompt, cut from the left."""
        ids = [token for pieces in self._prompt(row) for token in self._ids(pieces)]
        bos = [] if self._tokenizer.bos_token_id is None else [int(self._tokenizer.bos_token_id)]
        content = ids[1:] if bos and ids[:1] == bos else ids
        return bos + content[max(len(content) - max(self._max_tokens - len(bos), 0), 0) :]

    def label_ids(self, row: dict[str, Any], label: str) -> list[int]:
        """Return the tokens of a label, its end token included."""
        pieces, end = self._completion(row, label)
        return [*self._ids(pieces), end]

    def end_token_id(self, row: dict[str, Any]) -> int:
        """Return the token that ends an answer."""
        return self._completion(row, "x")[1]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of an answer."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _prompt(self, row: dict[str, Any]) -> list[Pieces]:
        """Return the parts of a prompt that are tokenised apart: turns that are trained, and what stands between."""
        template = self._template
        if template["kind"] == "chat":
            return self._chat_prompt(row)
        start = [(template["instruction"] + template["separator"], True)] if template["instruction"] else []
        return [start + self._rendered(template["prompt"], row)]

    def _completion(self, row: dict[str, Any], completion: str) -> tuple[Pieces, int]:
        if self._template["kind"] == "chat":
            _, pieces, end = self._chat(row, completion)
        else:
            pieces, end = self._rendered(self._template["completion"], {**row, "completion": completion}), None
        return pieces, int(self._tokenizer.eos_token_id) if end is None else self._special[end]

    def _rendered(self, source: str, row: dict[str, Any]) -> Pieces:
        chunks = self._environment.from_string(source).generate(row)
        return [(chunk, not isinstance(chunk, _Content)) for chunk in chunks]

    def _chat_prompt(self, row: dict[str, Any]) -> list[Pieces]:
        prompt, _, _ = self._chat(row, "x")
        if self._template["train_on"] == "last":
            return [prompt]
        messages, tools = self._messages(row), _tools(row)
        cuts = [0]
        for index, message in enumerate(messages):
            if message["role"] == "assistant":
                before = self._apply(messages[:index], tools, open_end=True)
                after = self._apply(messages[: index + 1], tools, open_end=False)
                turn, end = self._ended(_part(prompt, len(before), len(after)))
                cuts += [len(before), len(before) + sum(len(text) for text, _ in turn) + len(end or "")]
        cuts.append(sum(len(text) for text, _ in prompt))
        return [_part(prompt, start, end) for start, end in itertools.pairwise(cuts)]

    def _chat(self, row: dict[str, Any], completion: str) -> tuple[Pieces, Pieces, str | None]:
        """Return prompt and completion as pieces, and the special token that ends the completion."""
        messages, tools = self._messages(row), _tools(row)
        answered = [*messages, {"role": "assistant", "content": completion}]
        prompt = self._apply(messages, tools, open_end=True)
        whole = self._apply(answered, tools, open_end=False)
        pieces = self._told_apart(answered, tools, whole)
        answer, end = self._ended(_part(pieces, len(prompt), len(whole)))
        return _part(pieces, 0, len(prompt)), answer, end

    def _messages(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        turns = row["turns"]
        system = [self._template["instruction"]] if self._template["instruction"] else []
        system += [turn["content"] for turn in turns if turn["role"] == "system"]
        messages = [{"role": "system", "content": "\n\n".join(system)}] if system else []
        return messages + [turn for turn in turns if turn["role"] != "system"]

    def _ended(self, turn: Pieces) -> tuple[Pieces, str | None]:
        """Return an assistant's turn up to the special token that ends it, and that token."""
        after_content = max((index + 1 for index, (_, markup) in enumerate(turn) if not markup), default=0)
        for index in range(after_content, len(turn)):
            match = self._pattern.search(turn[index][0])
            if match:
                return [*turn[:index], (turn[index][0][: match.start()], True)], match.group()
        return turn, None

    def _told_apart(self, messages: Sequence[Mapping[str, Any]], tools: Any, whole: str) -> Pieces:
        """Tell content from the chat template's own text, by rendering placeholders instead of the content."""
        held = [
            {**message, "content": _PLACEHOLDER.format(index)} if message["content"] else message
            for index, message in enumerate(messages)
        ]
        markup = re.split("\ufdd0[0-9]+\ufdd1", self._apply(held, tools, open_end=False))
        contents = [message["content"] for message in messages if message["content"]]
        beside = [{key: value for key, value in message.items() if key != "content"} for message in messages]
        if self._pattern.search(json.dumps([tools, beside], ensure_ascii=False)):
            raise ValueError("tools or their calls spell a special token of the base model, which can't be told apart")
        for candidate in (contents, [content.strip() for content in contents]):
            if len(markup) == len(candidate) + 1:
                pieces = [(markup[0], True)]
                for content, after in zip(candidate, markup[1:], strict=True):
                    pieces += [(content, False), (after, True)]
                if "".join(text for text, _ in pieces) == whole:
                    return pieces
        if any(self._pattern.search(content) for content in contents):
            raise ValueError("a message spells a special token of the base model, which its chat template can't tell")
        return [(whole, True)]

    def _apply(self, messages: Sequence[Mapping[str, Any]], tools: Any, *, open_end: bool) -> str:
        texts = self._tokenizer.apply_chat_template(
            [list(messages)],
            tools=tools,
            chat_template=self._template["chat_template"],
            tokenize=False,
            add_generation_prompt=open_end,
        )
        return str(texts[0])

    def _ids(self, pieces: Pieces) -> list[int]:
        """Return the tokens of pieces; text between two special tokens is tokenised as one."""
        ids: list[int] = []
        plain = ""
        for text, markup in _merged(pieces):
            position = 0
            for match in self._pattern.finditer(text) if markup else ():
                ids += [*self._plain_ids(plain + text[position : match.start()]), self._special[match.group()]]
                plain, position = "", match.end()
            plain += text[position:]
        return ids + self._plain_ids(plain)

    def _plain_ids(self, text: str) -> list[int]:
        if not text:
            return []
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


class _Content(str):
    """Text that came out of a variable, told apart from the template's own text after rendering."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


def _sandbox() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    class NoAttributes(SandboxedEnvironment):
        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return False

    def finalize(value: Any) -> Any:
        return _Content(value) if isinstance(value, str | int | float) else value

    environment = NoAttributes(undefined=StrictUndefined, keep_trailing_newline=True, finalize=finalize)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals = {}
    return environment


def _four_bits(device: str) -> dict[str, Any]:
    """What `from_pretrained` needs besides for precision `nf4`: as the trainer's `tasks.models.loading.four_bits`."""
    import torch
    from transformers import BitsAndBytesConfig

    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": quantisation, "device_map": {"": device}}


def _copied(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the output layer a tensor of its own.

    On CPU it takes a slice of a larger tensor as one product for each row, 25 to 100 times slower; `contiguous()` would
    leave the slice of a single row as it is.
    """
    import torch

    return (inputs[0].clone(memory_format=torch.contiguous_format),)


def _row(values: Mapping[Any, Any], *, takes_tools: bool = False) -> dict[str, Any]:
    """Return the template's variables of a row, its turns and its tools."""
    present = {key: str(value) for key, value in values.items() if isinstance(value, str)}
    messages = present.pop("messages", None)
    if messages is None and "prompt" not in present:
        raise ValueError(f"a row needs a column 'prompt' or 'messages', got {', '.join(map(repr, values)) or 'none'}")
    turns = json.loads(messages) if messages is not None else [{"role": "user", "content": present["prompt"]}]
    turns = [{**turn, "content": turn.get("content") or ""} for turn in turns]
    tools = json.loads(present["tools"]) if takes_tools and present.get("tools") else None
    return {**present, "prompt": "\n".join(map(_said, turns)), "turns": turns, **({"tools": tools} if tools else {})}


def _tools(row: Mapping[str, Any]) -> list[Any] | None:
    tools = row.get("tools")
    return tools if isinstance(tools, list) else None


def _said(turn: Mapping[str, Any]) -> str:
    """Return a turn's content, and a line of canonical JSON for each tool that it calls."""
    lines = []
    for call in turn.get("tool_calls") or ():
        arguments = call["function"]["arguments"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        value = {"name": call["function"]["name"], "arguments": _canonical(arguments)}
        lines.append(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    return "\n".join([turn["content"], *lines] if turn["content"].strip() or not lines else lines)


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _merged(pieces: Pieces) -> Pieces:
    """Join neighbours of one kind, so that a special token may be spelled across them."""
    merged: Pieces = []
    for text, markup in pieces:
        if merged and merged[-1][1] == markup:
            merged[-1] = (merged[-1][0] + text, markup)
        elif text:
            merged.append((text, markup))
    return merged


def _part(pieces: Pieces, start: int, end: int) -> Pieces:
    """Return the pieces between two positions of the joined text."""
    kept = []
    for text, markup in pieces:
        part = text[max(start, 0) : max(end, 0)]
        if part:
            kept.append((part, markup))
        start, end = start - len(text), end - len(text)
    return kept


def _find_base(spec: Mapping[str, Any], given: str | None) -> Path:
    """Return the first folder that holds the registered base, byte for byte."""
    roots = [given, *os.environ.get("BURNISH_BASE_DIRS", "").split(os.pathsep), spec["directory"]]
    reasons = []
    for root in (Path(root) for root in roots if root):
        for folder in (root, root / spec["base"]):
            if (folder / "config.json").is_file():
                try:
                    _check_files(folder, spec["base_files"], what="base model")
                except ValueError as error:
                    reasons.append(str(error))
                else:
                    return folder
    raise ValueError(
        f"the base model {spec['base']} was not found: {'; '.join(reasons) or 'no folder holds it'}; set "
        "BURNISH_BASE_DIRS to a folder that holds it, or give model_config={'base_directory': …} when loading"
    )


def _check_files(folder: Path, files: Mapping[str, str], *, what: str) -> None:
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise ValueError(f"the {what} in {folder} lacks {name}")
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise ValueError(f"the {what} in {folder} is not the registered one: {name} differs")


mlflow.models.set_model(AdapterModel())
