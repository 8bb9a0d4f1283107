// Captions: what was heard, typed and said, as lines large enough for the last row.
// "You" is what the model's own listening head read, right or wrong; nothing else has listened.

import { h } from "./dom.js";

const PAUSE = 5; // turns without a word after which a line is over
const LINES = 40; // kept; older ones are on the strip
const WHO = { heard: "You, as heard", typed: "Typed", "own voice": "Model", asked: "Model asks", said: "Recording" };

// What one turn adds: [who, words].
function* wordsOf(turn) {
  if (turn.said) yield ["said", turn.said];
  if (turn.understood) yield ["heard", turn.understood];
  if (turn.typed) yield ["typed", turn.typed];
  if (turn.request) yield ["asked", turn.request];
  if (turn.words?.length) yield ["own voice", turn.words.join(" ")];
}

// The history as lines {who, words, from, to}, oldest first. Speakers may overlap: each has a line of its own.
export function transcript(turns) {
  const lines = [];
  const open = {};
  for (const turn of turns) {
    if (!turn) continue;
    for (const [who, words] of wordsOf(turn)) {
      const line = open[who];
      const ends = !line || who === "typed" || turn.turn - line.to > PAUSE;
      if (ends) lines.push((open[who] = { who, words, from: turn.turn, to: turn.turn }));
      else Object.assign(line, { words: `${line.words} ${words}`, to: turn.turn });
    }
  }
  return lines.slice(-LINES);
}

export class Captions {
  constructor() {
    this.list = h("ol.tml-lines");
    this.empty = h("p.tml-small", {}, "What is heard, typed and said stands here.");
    this.root = h("section.tml-captions", { "aria-label": "Captions", tabIndex: 0 }, this.empty, this.list);
    this.shown = [];
  }

  update(history) {
    const lines = transcript(history.turns);
    this.empty.hidden = lines.length > 0;
    const key = ({ who, from }) => `${who} ${from}`;
    const old = new Map(this.shown.map(({ line, row }) => [key(line), row]));
    this.shown = lines.map((line) => ({ line, row: old.get(key(line)) ?? this.row(line) }));
    for (const { line, row } of this.shown) if (row.lastChild.textContent !== line.words) row.lastChild.textContent = line.words;
    this.list.replaceChildren(...this.shown.map(({ row }) => row));
    this.toEnd();
  }

  toEnd() {
    this.root.scrollTop = this.root.scrollHeight;
  }

  row({ who, words }) {
    const row = h("li", {}, h("span.tml-who", {}, WHO[who]), h("span.tml-said", {}, words));
    row.dataset.who = who;
    return row;
  }
}
