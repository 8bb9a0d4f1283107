"""The captions' module in a page: words stand in the order of their sounds, and what is shown stays where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from lab import browser_with
from playwright.sync_api import Page, Playwright, Route

from tml_widgets.live_session import STATIC

pytestmark = pytest.mark.e2e

# A history that grows turn by turn: the rows [who, words] after each, and when all is over.
SHOW = """async (told) => {
  const { Captions } = await import("/captions.js");
  const captions = new Captions();
  const history = { turns: [], decided: -1 };
  document.body.replaceChildren(captions.root);
  const rows = () => [...captions.list.children].map((row) => [row.dataset.who, row.lastChild.textContent]);
  const seen = told.map((turn) => {
    history.turns[(history.decided = turn.turn)] = turn;
    captions.update(history, false);
    return rows();
  });
  captions.update(history, true);
  return [seen, rows()];
}"""


@pytest.fixture(scope="module")
def page(playwright: Playwright) -> Iterator[Page]:
    def answer(route: Route) -> None:
        name = route.request.url.removeprefix("http://localhost/")
        if name.endswith("?raw"):
            text = (STATIC / name.removesuffix("?raw")).read_text(encoding="utf-8")
            route.fulfill(body=f"export default {json.dumps(text)};", content_type="text/javascript")
        elif name.endswith(".js"):
            route.fulfill(body=(STATIC / name).read_text(encoding="utf-8"), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>test</title>", content_type="text/html")

    browser = browser_with(playwright)
    page = browser.new_page()
    page.route("**/*", answer)
    page.goto("http://localhost/")
    yield page
    browser.close()


def talk(turns: int, **told: dict[int, Any]) -> list[dict[str, Any]]:
    """So many turns as `history.js` holds them: `understood` and `typed` are words, `words` a list of them, by turn."""
    return [{"turn": n, **{name: by_turn[n] for name, by_turn in told.items() if n in by_turn}} for n in range(turns)]


def check_stable(seen: list[list[list[str]]]) -> None:
    """A line that was shown stays in its place, and its words grow at the end only."""
    for before, after in pairwise(seen):
        assert [who for who, _ in after[: len(before)]] == [who for who, _ in before]
        for (_, old), (_, new) in zip(before, after, strict=False):
            assert new.startswith(old)


@pytest.mark.parametrize("late", [0, 1, 2])
def test_what_was_heard_stands_above_its_answer(page: Page, late: int) -> None:
    """Numbers repeated at the pace of a count, each named by the head `late` turns after the model said it."""
    said = {6: ["seven"], 11: ["two"], 16: ["nine"], 21: ["four"]}
    heard = {turn + late: words[0] for turn, words in said.items()}
    seen, rows = page.evaluate(SHOW, talk(26, understood=heard, words=said))
    pairs = [[["heard", word], ["own voice", word]] for (word,) in said.values()]
    assert rows == [row for pair in pairs for row in pair]
    check_stable(seen)
    assert seen[-1] == rows


def test_a_sentence_with_its_answer_and_one_said_over_it(page: Page) -> None:
    heard = {5: "what is", 8: "three", 12: "plus", 13: "four"}
    words = {11: ["that"], 13: ["is"], 15: ["seven"], 26: ["tick"], 29: ["tick"]}
    over = {27: "this", 28: "goes", 29: "on"}  # heard at 25, 26 and 27; the first tick sounds at 27
    seen, rows = page.evaluate(SHOW, talk(34, understood=heard | over, words=words, typed={20: "say tick"}))
    assert rows == [
        ["heard", "what is three plus four"], ["own voice", "that is seven"], ["typed", "say tick"],
        ["heard", "this goes on"], ["own voice", "tick tick"],
    ]  # fmt: skip
    check_stable(seen)


def test_the_last_word_is_told_when_the_session_is_over(page: Page) -> None:
    seen, rows = page.evaluate(SHOW, talk(5, words={4: ["one"]}))
    assert seen[-1] == [] and rows == [["own voice", "one"]]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_said_nothing_moves_and_nothing_is_lost(page: Page, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turns = [n for n in range(120) if n % 17 != 5]  # some were skipped
    heard = {n: f"h{n}" for n in turns if rng.random() < 0.15}
    words = {n: [f"m{n}"] for n in turns if rng.random() < 0.15}
    typed = {n: f"t{n}" for n in turns if rng.random() < 0.03}
    told = talk(120, understood=heard, words=words, typed=typed)
    seen, rows = page.evaluate(SHOW, [turn for turn in told if turn["turn"] in turns])
    short = [frame for frame in seen if len(frame) < 40]  # then the oldest ones go
    check_stable(short)
    if len(rows) < 40:
        said = sorted(word for _, line in rows for word in line.split())
        assert said == sorted([*heard.values(), *typed.values(), *(word for (word,) in words.values())])


SCROLL = """async () => {
  const { Captions } = await import("/captions.js");
  const { History } = await import("/history.js");
  const captions = new Captions();
  document.body.replaceChildren(captions.root);
  captions.root.style = "height: 100px; overflow-y: auto";
  const history = new History();
  const say = (from, to) => {
    for (let n = from; n < to; n++) {
      const message = { turn: n, p_speak: 0, decision: "<silent>", words: n % 10 ? [] : [`w${n}`] };
      history.addDecision(message, null, { rows: [], peak: 0 });
      captions.update(history, false);
    }
  };
  const far = () => captions.root.scrollHeight - captions.root.scrollTop - captions.root.clientHeight;
  say(0, 400);
  const found = [far()];
  captions.root.scrollTop = 40;
  say(400, 600);
  found.push(captions.root.scrollTop);
  captions.toEnd();
  say(600, 3600);
  found.push(far(), captions.list.children.length, history.turns.filter((turn) => turn.attention).length);
  return found;
}"""


def test_who_reads_back_is_left_there_and_an_hour_does_not_fill_the_page(page: Page) -> None:
    """Also: pictures and attention of more than 10 minutes ago are let go of."""
    at_end, back, again, lines, rich = page.evaluate(SCROLL)
    assert at_end <= 1 and back == 40 and again <= 1
    assert lines == 200 and rich == 3001
