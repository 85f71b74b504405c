"""Models and manuals for rehearsals, loaded when one is first needed and then kept.

Knows how both are loaded and in which folder an index may lie; knows no scenario. Most scenarios need
neither, and then nothing of a model is imported into memory.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edge_node.errors import EdgeNodeError
from edge_node.runtime.wiring import Models, load_models, open_library

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_node.config.loaded import Configuration
    from edge_node.knowledge.library import Library
    from edge_node.messages import Generation, Grammar, Passage, Turn
    from edge_node.protocols import Progress


class Props:
    """What rehearsals of one configuration share; to be closed at the end.

    Args:
        configuration: Names the models, and the nodes whose manuals are searched.
        progress: Told while something is loaded or built.
        models: Models that are loaded already; loaded when first needed where left out.

    Attributes:
        missing: Why the models or the manuals could not be had when they were needed, or None.
    """

    def __init__(
        self, configuration: Configuration, *, progress: Progress, models: Models | None = None
    ) -> None:
        self.missing: EdgeNodeError | None = None
        self._configuration = configuration
        self._progress = progress
        self._given = models
        self._folder = tempfile.TemporaryDirectory(prefix="edge-node-")

    @property
    def folder(self) -> Path:
        """A folder that ends with the props."""
        return Path(self._folder.name)

    @cached_property
    def models(self) -> Models:
        """Both models, which load themselves when they are first asked."""
        return Models(_LateLanguageModel(self), _LateEmbedder(self))

    @cached_property
    def manuals(self) -> LateLibrary:
        """The manuals, indexed when they are first searched."""
        return LateLibrary(self)

    @cached_property
    def loaded(self) -> Models:
        """Both models, loaded.

        Raises:
            ModelError: They cannot be had; `missing` tells it from then on.
        """
        try:
            return self._given or load_models(self._configuration, progress=self._progress)
        except EdgeNodeError as error:
            self.missing = error
            raise

    @cached_property
    def library(self) -> Library:
        """The manuals, indexed anew in a folder of their own.

        Raises:
            KnowledgeError: They cannot be indexed.
        """
        runtime = self._configuration.runtime.model_copy(update={"state": str(self.folder)})
        own = replace(self._configuration, runtime=runtime)
        library = open_library(own, embedder=self.loaded.embedder)
        library.build(progress=self._progress)
        return library

    def renew(self) -> None:
        """Forget what was missing, so that `missing` tells it of the next rehearsal."""
        self.missing = None

    def close(self) -> None:
        """Let go of the index and its folder."""
        if "library" in self.__dict__:
            self.library.close()
        self._folder.cleanup()


class LateLibrary:
    """The manuals of a rehearsal; a search before the index is there makes it."""

    def __init__(self, props: Props) -> None:
        self._props = props

    def passages(self, text: str, *, node: str = "", limit: int = 4) -> tuple[Passage, ...]:
        """Return the passages nearest to `text`, best first."""
        return self._props.library.passages(text, node=node, limit=limit)


class _LateEmbedder:
    """Sentences to vectors, by a model that is loaded with the first sentence."""

    def __init__(self, props: Props) -> None:
        self._props = props

    @property
    def name(self) -> str:
        return self._props.loaded.embedder.name

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._props.loaded.embedder.embed(texts)


class _LateLanguageModel:
    """Text to text, by a model that is loaded with the first prompt."""

    def __init__(self, props: Props) -> None:
        self._props = props

    @property
    def context(self) -> int:
        return self._props.loaded.language.context

    def count(self, turns: Sequence[Turn]) -> int:
        return self._props.loaded.language.count(turns)

    def prepare(self, system: Turn) -> None:
        self._props.loaded.language.prepare(system)

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        return self._props.loaded.language.generate(
            turns, grammar=grammar, max_tokens=max_tokens, check=check
        )
