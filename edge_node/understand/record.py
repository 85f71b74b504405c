"""What the model read and wrote, as it is kept with a decision.

Knows prompts and generations; knows nothing of what was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.messages import Generation, Turn


def record_of(turns: Sequence[Turn], generation: Generation) -> dict[str, Any]:
    """Return the prompt, the text, the token counts and the log probability of one generation."""
    return {
        "prompt": [{"role": turn.role, "content": turn.content} for turn in turns],
        "text": generation.text,
        "prompt_tokens": generation.prompt_tokens,
        "cached_tokens": generation.cached_tokens,
        "tokens": generation.tokens,
        "forced_tokens": generation.forced_tokens,
        "guessed_tokens": generation.guessed_tokens,
        "runs": generation.runs,
        "complete": generation.complete,
        "log_probability": generation.log_probability,
    }
