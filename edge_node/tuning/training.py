"""Training of an adapter over a frozen base: the one place that knows torch, transformers and peft.

Knows packs of tokens and GGUF files; knows nothing of commands, of prompts, or of how an adapter is run.
"""

from __future__ import annotations

import math
import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import ModelUnsupported, Unavailable
from edge_node.tuning.packed_attention import NAME, Layout, register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_node.model.gguf_file import GgufFile
    from edge_node.protocols import Progress
    from edge_node.tuning.lessons import Pack

_log = structlog.get_logger(__name__)

CHECKPOINT = "training.pt"
ADAPTER = "peft"
_PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_WHOLE = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
_FAMILIES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}
_WARM_SHARE = 0.04
_LEAST_RATE = 0.05
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an adapter is trained.

    Attributes:
        rank: Rank of each pair of matrices.
        rate: Greatest learning rate.
        packs_a_step: Packs that one step of the optimiser looks at.
        epochs: How often each pack is seen, at most.
        minutes: Time that training may take; the learning rate falls towards its end.
        seed: What all chance starts from.
        device: `cpu`, `cuda`, or empty for what is there.
        threads: Threads of the CPU; 0 takes all cores.
        checkpoint_s: Seconds between two checkpoints.
    """

    rank: int = 8
    rate: float = 1e-3
    packs_a_step: int = 1
    epochs: int = 3
    minutes: float = 25.0
    seed: int = 1
    device: str = ""
    threads: int = 0
    checkpoint_s: float = 120.0


@dataclass(slots=True)
class Course:
    """How far a training has come.

    Attributes:
        step: Steps of the optimiser.
        packs: Packs seen.
        tokens: Tokens read.
        spent_s: Seconds of training.
        losses: Mean loss of each step, the newest last.
    """

    step: int = 0
    packs: int = 0
    tokens: int = 0
    spent_s: float = 0.0
    losses: list[float] = field(default_factory=list)


def require_torch() -> None:
    """Make sure that what trains is installed.

    Raises:
        Unavailable: It is not.
    """
    # Threads that spin while they wait lose half their time on a machine that does other work too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        import peft  # noqa: F401, PLC0415 - an extra
        import torch  # noqa: F401, PLC0415
        import transformers  # noqa: F401, PLC0415
    except ImportError as error:
        raise Unavailable(
            f"training ({error.name} is missing)", hint="pip install 'edge-node[tune]'"
        ) from error


class Training:
    """A base with an adapter that learns.

    Args:
        gguf: The base.
        recipe: How it is trained.
        folder: Where checkpoints lie; a training that was broken off there goes on.

    Raises:
        Unavailable: Torch, transformers or peft is not installed.
        ModelUnsupported: The family of the base is not known here.
    """

    def __init__(self, gguf: GgufFile, *, recipe: Recipe, folder: Path) -> None:
        require_torch()
        import torch  # noqa: PLC0415

        self._torch = torch
        self._recipe = recipe
        self._folder = folder
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
        self.device = torch.device(recipe.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.kind = _number_type(torch, self.device)
        self._model = _with_adapter(_base(gguf, torch, kind=self.kind), rank=recipe.rank).to(self.device)
        self._small = [value for value in self._model.parameters() if value.requires_grad]
        # What learns is kept in 32 bits; the steps would be lost in the 8 bits of a bfloat16.
        self._exact = [value.detach().float().clone().requires_grad_() for value in self._small]
        self._optimiser = torch.optim.AdamW(self._exact, lr=recipe.rate, weight_decay=0.01, betas=(0.9, 0.98))
        self.course = Course()

    def run(
        self,
        packs: Sequence[Pack],
        *,
        progress: Progress,
        at_checkpoint: Callable[[Path], None] | None = None,
    ) -> Path:
        """Train until all packs were seen as often as the recipe says, or its time is over.

        Args:
            packs: What is learned.
            progress: Told of percents of the time or of the packs, whichever is further.
            at_checkpoint: Called with the folder of the adapter whenever one was written.

        Returns:
            The folder with the adapter as PEFT writes it.
        """
        self._resume()
        total = len(packs) * self._recipe.epochs
        progress.start("training", 100)
        saved_s = self.course.spent_s
        for group in self._groups(packs):
            share = max(self.course.spent_s / (self._recipe.minutes * 60), self.course.packs / max(total, 1))
            if share >= 1:
                break
            began = time.monotonic()
            self._step(group, share=share)
            self.course.spent_s += time.monotonic() - began
            progress.advance(min(99, round(share * 100)))
            if self.course.spent_s - saved_s >= self._recipe.checkpoint_s:
                saved_s = self.course.spent_s
                self._save()
                if at_checkpoint:
                    at_checkpoint(self._folder / ADAPTER)
        progress.advance(100)
        progress.finish()
        self._save()
        return self._folder / ADAPTER

    def _groups(self, packs: Sequence[Pack]) -> Iterator[list[Pack]]:
        """Yield what is left, each time in an order of its own that depends on the seed alone."""
        order: list[Pack] = []
        for epoch in range(self._recipe.epochs):
            again = list(packs)
            random.Random(f"{self._recipe.seed} {epoch}").shuffle(again)  # noqa: S311 - no secret
            order += again
        left = order[self.course.packs :]
        size = self._recipe.packs_a_step
        yield from (left[at : at + size] for at in range(0, len(left), size))

    def _step(self, group: Sequence[Pack], *, share: float) -> None:
        weights = sum(sum(lesson.weights) for pack in group for lesson in pack.lessons)
        losses = []
        for pack in group:
            loss = self._loss(pack) / max(weights, 1e-9)
            loss.backward()
            losses.append(float(loss.detach()))
            self.course.tokens += pack.length
        for exact, small in zip(self._exact, self._small, strict=True):
            exact.grad = None if small.grad is None else small.grad.float()
            small.grad = None
        self._torch.nn.utils.clip_grad_norm_(self._exact, _LARGEST_GRADIENT)
        for settings in self._optimiser.param_groups:
            settings["lr"] = self._recipe.rate * _rate_share(share)
        self._optimiser.step()
        self._copy()
        self.course.step += 1
        self.course.packs += len(group)
        self.course.losses.append(round(sum(losses), 4))
        _log.info(
            "step", step=self.course.step, loss=self.course.losses[-1], spent_s=round(self.course.spent_s)
        )

    def _loss(self, pack: Pack) -> Any:
        """Return the sum of the losses of all tokens of answers, each weighted."""
        torch = self._torch
        laid = _laid(pack)
        tokens = torch.tensor([laid.tokens], device=self.device)
        decoder = self._model.base_model.model
        hidden = decoder.model(
            input_ids=tokens,
            position_ids=torch.tensor([laid.positions], device=self.device),
            use_cache=False,
            layout=Layout.of(torch, begun=len(pack.beginning), lengths=laid.lengths, device=self.device),
        ).last_hidden_state[0]
        sources = torch.tensor(laid.sources, device=self.device)
        logits = decoder.lm_head(hidden[sources]).float()
        each = torch.nn.functional.cross_entropy(
            logits, torch.tensor(laid.targets, device=self.device), reduction="none"
        )
        return (each * torch.tensor(laid.weights, device=self.device)).sum()

    def _copy(self) -> None:
        with self._torch.no_grad():
            for exact, small in zip(self._exact, self._small, strict=True):
                small.copy_(exact)

    def _save(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._model.save_pretrained(str(self._folder / ADAPTER))
        state = {
            "exact": [value.detach() for value in self._exact],
            "optimiser": self._optimiser.state_dict(),
            "course": [self.course.step, self.course.packs, self.course.tokens, self.course.spent_s],
            "losses": self.course.losses,
        }
        aside = self._folder / f".{CHECKPOINT}"
        self._torch.save(state, aside)
        aside.replace(self._folder / CHECKPOINT)

    def _resume(self) -> None:
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return
        state = self._torch.load(path, map_location=self.device, weights_only=True)
        with self._torch.no_grad():
            for exact, kept in zip(self._exact, state["exact"], strict=True):
                exact.copy_(kept)
        self._optimiser.load_state_dict(state["optimiser"])
        step, packs, tokens, spent_s = state["course"]
        self.course = Course(int(step), int(packs), int(tokens), float(spent_s), list(state["losses"]))
        self._copy()


@dataclass(frozen=True, slots=True)
class _Laid:
    tokens: list[int]
    lengths: list[int]
    positions: list[int]
    sources: list[int]
    targets: list[int]
    weights: list[float]


def _laid(pack: Pack) -> _Laid:
    """Return a pack as one row: its beginning, then each lesson as if it stood right behind that."""
    begun = len(pack.beginning)
    laid = _Laid(list(pack.beginning), [], list(range(begun)), [], [], [])
    for lesson in pack.lessons:
        own = (*lesson.prompt[begun:], *lesson.answer)
        start = len(laid.tokens)
        laid.tokens.extend(own)
        laid.lengths.append(len(own))
        laid.positions.extend(range(begun, begun + len(own)))
        first = start + len(lesson.prompt) - begun
        laid.sources.extend(range(first - 1, first - 1 + len(lesson.answer)))
        laid.targets.extend(lesson.answer)
        laid.weights.extend(lesson.weights)
    return laid


def _rate_share(share: float) -> float:
    if share < _WARM_SHARE:
        return max(share / _WARM_SHARE, _LEAST_RATE)
    along = (share - _WARM_SHARE) / (1 - _WARM_SHARE)
    return _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(along, 1.0)))


def _number_type(torch: Any, device: Any) -> Any:
    """Return bfloat16 where the machine multiplies it faster than float32, else float32."""
    if device.type == "cpu":
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 - there is no public way to ask
        capable = fast and "avx512_bf16" in _cpu_flags()
        return torch.bfloat16 if capable else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32


def _cpu_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a file of the kernel
            line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        return frozenset()
    return frozenset(line.split())


def _base(gguf: GgufFile, torch: Any, *, kind: Any) -> Any:
    import transformers  # noqa: PLC0415

    register(torch, transformers)
    family = _FAMILIES.get(gguf.architecture.name)
    if family is None:
        raise ModelUnsupported(
            gguf.path, expected=f"a family among {', '.join(_FAMILIES)}", came=gguf.architecture.name
        )
    size = gguf.dimensions
    tied = not gguf.has("output.weight")
    told = {"head_dim": size.head_size} if family != "Qwen2" else {}
    configuration = getattr(transformers, f"{family}Config")(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=size.context,
        rms_norm_eps=size.norm_epsilon,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": size.rope_base},
        attn_implementation=NAME,
        **told,
    )
    model = getattr(transformers, f"{family}ForCausalLM")(configuration).to(kind).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            values.copy_(torch.from_numpy(_tensor(gguf, name).copy()))
    return model.requires_grad_(requires_grad=False)


def _tensor(gguf: GgufFile, name: str) -> Any:
    """Return a tensor by the name it has in transformers, its rows in the order they have there."""
    stem, _, ending = name.removeprefix("model.").rpartition(".")
    if not stem.startswith("layers."):
        return gguf.tensor(f"{_WHOLE[stem]}.{ending}")
    _, layer, part = stem.split(".", 2)
    known = _NAMES.get(f"{part}.{ending}") or f"{_NAMES[part]}.{ending}"
    values = gguf.tensor(f"blk.{layer}.{known}")
    if gguf.architecture.rotary_interleaved and part in {"self_attn.q_proj", "self_attn.k_proj"}:
        half = gguf.dimensions.head_size // 2
        return values.reshape(-1, half, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
    return values


def _with_adapter(model: Any, *, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415

    configuration = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(_PARTS), lora_dropout=0.0, bias="none"
    )
    return get_peft_model(model, configuration, autocast_adapter_dtype=False)
