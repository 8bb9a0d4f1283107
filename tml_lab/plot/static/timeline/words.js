// The same in words: the cursor's turn, captions, and a table of what is in sight, for those who cannot see the lanes.

import { clock, firstFrom } from "./axis.js";

const MOST_ROWS = 300;
const CAPTION = 2.5; // seconds that a word stays in the captions

// The turn at a cursor, as a sentence.
export function describe({ decisions, turnSeconds, turns }, said, turn) {
  if (!turns) return "There is no turn in this recording.";
  if (turn === null) return "Click to set the cursor; ? shows the keys.";
  const at = (n) => clock(n * turnSeconds);
  const name = decisions.names[decisions.codes[turn]].replace(/[<>]/g, "");
  const [begin, end] = [(turn + 1) * turnSeconds, (turn + 2) * turnSeconds];
  const words = said.filter(([start]) => start >= begin - 1e-6 && start < end - 1e-6).map(([, , word]) => word);
  const parts = [
    `turn ${turn}`, `hears ${at(turn)} to ${at(turn + 1)}`, `plays ${at(turn + 1)} to ${at(turn + 2)}`,
    name === "skipped" ? "skipped, never computed" : `decides ${name}, p(speak) ${decisions.p[turn].toFixed(2)}`,
  ];
  return [...parts, ...(words.length ? [`says ${words.join(" ")}`] : [])].join(" · ");
}

// What was just said or heard, newest last: words of a tier around `t`.
export function caption(words, t) {
  const last = firstFrom(words, t + 1e-6);
  const shown = [];
  for (let n = last - 1; n >= 0 && shown.length < 12; n--) {
    if (t - words[n][0] > CAPTION && t > words[n][1]) break;
    shown.unshift(words[n][2]);
  }
  return shown.join(" ");
}

// Rows [start, end, lane, words] of all tiers between two seconds; and how many there are.
export function rowsBetween(lanes, from, to) {
  const found = [];
  for (const { name, kind, data } of lanes) {
    if (kind !== "tier") continue;
    for (let n = Math.max(0, firstFrom(data.words, from) - 1); n < data.words.length && data.words[n][0] <= to; n++) {
      const [start, end, text] = data.words[n];
      if (end >= from) found.push([start, end, name, text]);
    }
  }
  found.sort((a, b) => a[0] - b[0]);
  return [found.slice(0, MOST_ROWS), found.length];
}

export function fillTable(table, lanes, from, to) {
  const [rows, many] = rowsBetween(lanes, from, to);
  const head = document.createElement("caption");
  const rest = many > rows.length ? `; the first ${rows.length} of ${many}, zoom in for the others` : "";
  head.textContent = `What is in sight, ${clock(from)} to ${clock(to)}${rest}. Enter on a row goes there.`;
  const body = document.createElement("tbody");
  body.append(row("th", ["from", "to", "lane", "words"]));
  for (const [start, end, name, text] of rows) {
    const line = row("td", [clock(start, 2), end > start ? clock(end, 2) : "", name, text]);
    line.tabIndex = 0;
    line.dataset.at = start;
    body.append(line);
  }
  table.replaceChildren(head, body);
}

function row(cell, texts) {
  const line = document.createElement("tr");
  for (const text of texts) {
    const one = document.createElement(cell);
    one.textContent = text;
    if (cell === "th") one.scope = "col";
    line.append(one);
  }
  return line;
}
