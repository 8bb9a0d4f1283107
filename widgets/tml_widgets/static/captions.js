// Captions: what was heard, typed and said, as lines large enough for the last row.
// "You" is what the model's own listening head read, right or wrong; nothing else has listened.

import { h } from "./dom.js";

const PAUSE = 5; // turns without a word after which a line is over
const LATE = 2; // turns between a word's sound and its name: the nano's head needs two to three (demo clips)
const LINES = 200; // kept; older ones are on the strip
const NEAR = 30; // pixels from the end at which the newest line is what is read
const WHO = { heard: "You, as heard", typed: "Typed", "own voice": "Model", asked: "Model asks", said: "Recording" };

// The words of a session [at, who, words], in the order in which they sound, `at` in turns. What is heard is named by the
// listening head LATE turns after its sound, often when the answer is out already; what comes out sounds one turn after
// it was decided. While the session runs, nothing is told before which a word heard could still come: so a line, once
// shown, never moves.
function* inOrder(turns, decided, over) {
  const end = over ? decided + 1 : decided - LATE;
  for (let at = -LATE; at <= end; at++) {
    const [now, named, before] = [turns[at], turns[at + LATE], turns[at - 1]];
    if (now?.said) yield [at, "said", now.said];
    if (named?.understood) yield [at, "heard", named.understood];
    if (now?.typed) yield [at, "typed", now.typed];
    if (before?.request) yield [at, "asked", before.request];
    if (before?.words?.length) yield [at, "own voice", before.words.join(" ")];
  }
}

// The history as lines {who, words, from, to}, oldest first. Who talks over another goes on in a line of their own; after
// another's answer a new line begins, below it.
export function transcript({ turns, decided }, over = true) {
  const lines = [];
  const open = {};
  for (const [at, who, words] of inOrder(turns, decided, over)) {
    const line = open[who];
    const answered = () => Object.values(open).some(({ from }) => from > line.to);
    if (!line || who === "typed" || at - line.to > PAUSE || answered()) lines.push((open[who] = { who, words, from: at, to: at }));
    else Object.assign(line, { words: `${line.words} ${words}`, to: at });
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

  // `over`: nothing more will come, so that nothing need be waited for.
  update(history, over) {
    const lines = transcript(history, over);
    const { scrollHeight, scrollTop, clientHeight } = this.root;
    const reading = scrollHeight - scrollTop - clientHeight > NEAR; // somebody has scrolled back, and is left there
    this.empty.hidden = lines.length > 0;
    const key = ({ who, from }) => `${who} ${from}`;
    const old = new Map(this.shown.map(({ line, row }) => [key(line), row]));
    this.shown = lines.map((line) => ({ line, row: old.get(key(line)) ?? this.row(line) }));
    for (const { line, row } of this.shown) if (row.lastChild.textContent !== line.words) row.lastChild.textContent = line.words;
    const rows = this.shown.map(({ row }) => row);
    const same = rows.length === this.list.children.length && rows.every((row, n) => row === this.list.children[n]);
    if (!same) this.list.replaceChildren(...rows);
    if (!reading) this.toEnd();
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
