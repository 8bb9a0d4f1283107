// The console's keys: one table, from which both the keyboard and the page of help are made.

import { h } from "./dom.js";

export const KEYS = [
  [" ", "Space", "start, let it wait, go on", "startOrStop"],
  ["f", "F", "rehearsed recording instead of the microphone, and back", "fallback"],
  ["w", "W", "why now? what drove the last decision to speak, or the one that is looked at", "why"],
  ["x", "X", "what if? silence a stretch or type other words, run it both ways, listen", "whatIf"],
  ["r", "R", "rewind: back to the turn that is looked at, and on from there another way", "rewind"],
  ["b", "B", "bookmark the turn that is looked at; again takes it away", "bookmark"],
  ["1", "1 to 9", "go to a bookmark", null],
  ["t", "T", "type to the model", "typeWords"],
  ["m", "M", "mute the microphone", "mute"],
  ["v", "V", "camera on or off", "camera"],
  ["c", "C", "captions on or off", "captionsOnOff"],
  ["d", "D", "dark or light", "darkOrLight"],
  ["+", "+ and \u2212", "larger or smaller", "larger"],
  ["-", "", "", "smaller"],
  ["p", "P", "fill the screen", "fullScreen"],
  ["s", "S", "save the session", "save"],
  ["n", "N", "a new session; the one before is kept in Python, as console.before", "fresh"],
  ["ArrowLeft", "\u2190 \u2192", "look at one turn after another; with Shift choose a stretch; Home, End, Page up, Page down", null],
  ["Escape", "Esc", "close what is open; back to now", "escape"],
  ["?", "?", "these keys", "help"],
];
const MOVES = new Set(["ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown"]);
const TYPING = "input:not([type=range]):not([type=checkbox]), textarea, select";

// Calls the view's method for a key; Ctrl, Alt and Meta stay the browser's.
export function onKey(view, event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  // The notebook has shortcuts on plain letters; and of an Enter that JupyterLab's listener on the document sees inside a
  // cell, it prevents the `insertLineBreak` that follows, without which no form is submitted.
  event.stopPropagation();
  if (event.key !== "Escape" && event.target.matches?.(TYPING)) return;
  if ((event.key === " " || event.key === "Enter") && event.target.matches?.("button, summary, input")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = KEYS.find(([name]) => name === key || (name === "+" && key === "="))?.[3];
  if (action) view[action]();
  else if (/^[1-9]$/.test(key)) view.goToBookmark(Number(key));
  else if (MOVES.has(key) && event.target !== view.canvas) view.onKey(event);
  else return;
  event.preventDefault();
}

export function helpDialog() {
  const rows = KEYS.filter(([, name]) => name).map(([, name, what]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, name)), h("td", {}, what)));
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog.tml-help", { "aria-label": "Keys" }, h("h3", {}, "Keys"), h("table", {}, h("tbody", {}, ...rows)), close);
  return dialog;
}
