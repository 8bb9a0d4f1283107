"""A background model behind any endpoint that speaks OpenAI's chat protocol: the user's own, local or remote.

    agent = BackgroundAgent([*tools, Endpoint("http://localhost:8000/v1", "my-model", tools=tools)])
    agent.call("ask", "what shall we cook with bread and eggs", turn)

The answer is streamed: each sentence is a partial result, the whole answer the result. The model may call the tools it
is given; their arguments are checked, and what they say goes back to it. So it may draw on the panel, too
(`panel_tools`). Needs the extra `background`
(`pip install "tml-lab[background]"`).
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from tml_lab.background.agent import Tool
from tml_lab.background.arguments import checked_json
from tml_lab.background.calculator import ToolError
from tml_lab.background.drafts import Drafts

ROUNDS = 4  # of tool calls before an answer is due
LONGEST = 4000  # characters of an answer
ABOUT = (
    "You are the background model of a spoken conversation. Answer what you are asked in one to three short sentences "
    "that can be read out: no lists, no markup."
)
SENTENCE = re.compile(r"(?<=[.!?])\s+")


class Request(BaseModel):
    """The arguments of a tool that has none of its own: what to ask it, in its own words."""

    request: str


class Endpoint:
    """The tool `ask`.

    Args:
        base_url: of the endpoint, up to `/v1`.
        model: its name there.
        api_key: a local server usually takes any.
        tools: what the model may call; none by default.
        context: gives the conversation so far as text (`ContextPackage.to_json`), sent with each question. Beside a
            session none is needed: `Assisted` gives it with each call.
        timeout: seconds for a connection, and between two pieces of an answer.
        retries: of a request that failed before anything came.
    """

    name = "ask"
    as_it_comes = True  # a session reads each sentence at once, not the whole answer at its end

    def __init__(
        self, base_url: str, model: str, api_key: str = "none", tools: Sequence[Tool] = (),
        context: Callable[[], str] | None = None, timeout: float = 20.0, retries: int = 2,
    ) -> None:  # fmt: skip
        try:
            from openai import AsyncOpenAI
        except ImportError as error:
            raise ToolError('asking an endpoint needs the package openai: pip install "tml-lab[background]"') from error
        self.model, self.context = model, context
        self.tools = {tool.name: tool for tool in tools}
        self._where = base_url
        # made anew for each question: a client belongs to the event loop that it first runs on
        self._client = lambda: AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=timeout, max_retries=retries)

    def knowing(self, context: Callable[[], str]) -> Endpoint:
        """The same endpoint, told the conversation so far."""
        told = copy.copy(self)
        told.context = context
        return told

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """Sentences as they are complete, the whole answer last. Raises ToolError in one sentence."""
        import openai

        messages: list[dict[str, Any]] = [{"role": "system", "content": ABOUT}]
        if self.context is not None:
            so_far = await asyncio.to_thread(self.context)
            messages.append({"role": "system", "content": f"The conversation so far: {so_far}"})
        messages.append({"role": "user", "content": request})
        try:
            async with self._client() as client:
                async for item in self._answer(client, messages):
                    yield item
        except openai.APITimeoutError as error:
            raise ToolError(f"{self._where} did not answer in time.") from error
        except openai.APIConnectionError as error:
            raise ToolError(f"{self._where} cannot be reached: is the server running?") from error
        except openai.APIStatusError as error:
            why = f"{self._where} refused with status {error.status_code}: {_short(error.message)}"
            raise ToolError(why) from error
        except openai.OpenAIError as error:
            raise ToolError(f"{self._where} gave no usable answer: {_short(str(error))}") from error
        except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
            raise ToolError(f"{self._where} does not speak the chat protocol: {_short(str(error))}") from error

    async def _answer(self, client: Any, messages: list[dict[str, Any]]) -> AsyncGenerator[str, None]:
        """Rounds of tool calls, then the sentences of the answer and the answer."""
        for _ in range(ROUNDS):
            text, calls = "", {}
            said = 0  # characters given out as sentences
            stream = await client.chat.completions.create(
                model=self.model, messages=messages, stream=True, **({"tools": self._offer()} if self.tools else {})
            )
            with Drafts(self.tools) as drafts:
                async for piece in stream:
                    if not piece.choices:
                        continue
                    delta = piece.choices[0].delta
                    _gather(calls, delta.tool_calls or ())
                    drafts.write(calls)
                    text += delta.content or ""
                    if len(text) > LONGEST:
                        raise ToolError(f"the answer of {self._where} is longer than {LONGEST} characters.")
                    while match := SENTENCE.search(text, said):
                        yield text[said : match.start()]
                        said = match.end()
                messages += await self._carry_out(text, calls, drafts)
            if not calls:
                if not text.strip():
                    raise ToolError(f"{self._where} answered nothing.")
                yield text.strip()
                return
        raise ToolError(f"{self._where} went on calling tools: no answer after {ROUNDS} rounds.")

    async def _carry_out(self, text: str, calls: dict[int, dict[str, Any]], drafts: Drafts) -> list[dict[str, Any]]:
        """The messages of a round of calls. A fault is told to the model, which may do better."""
        if not calls:
            return []
        messages: list[dict[str, Any]] = [
            {"role": "assistant", "content": text or None, "tool_calls": list(calls.values())}
        ]
        for place, call in calls.items():
            try:
                result = await self._call(call["function"]["name"], call["function"]["arguments"])
                drafts.done(place)
            except ToolError as error:
                result = f"error: {error}"
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        return messages

    async def _call(self, name: str, arguments: str) -> str:
        """What a tool says. Raises ToolError."""
        if name not in self.tools:
            raise ToolError(f"there is no tool called {name!r}; there are {', '.join(self.tools)}.")
        tool, request = self.tools[name], arguments or "{}"
        if _schema(tool) is Request:
            request = checked_json(Request, request).request
        return [item async for item in tool.stream(request)][-1]

    def _offer(self) -> list[dict[str, Any]]:
        """The tools as the protocol wants them."""
        return [
            {"type": "function", "function": {
                "name": name, "description": (type(tool).__doc__ or name).strip(),
                "parameters": _schema(tool).model_json_schema(),
            }}
            for name, tool in self.tools.items()
        ]  # fmt: skip


def _schema(tool: Tool) -> type[BaseModel]:
    """What a tool's arguments may hold; one with a schema of its own takes them as JSON and checks them itself."""
    return getattr(tool, "arguments", Request)


def _gather(calls: dict[int, dict[str, Any]], pieces: Sequence[Any]) -> None:
    """Put the pieces of streamed tool calls together."""
    for piece in pieces:
        whole = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = calls.setdefault(piece.index, whole)
        call["id"] = piece.id or call["id"]
        if piece.function is not None:
            call["function"]["name"] += piece.function.name or ""
            call["function"]["arguments"] += piece.function.arguments or ""


def _short(text: str) -> str:
    """One line of at most 200 characters, with a full stop."""
    line = " ".join(text.split())[:200]
    return line if line.endswith(".") else line + "."
