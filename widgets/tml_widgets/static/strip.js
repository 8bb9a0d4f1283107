// The live strip: one canvas with everything on one time axis.
// Drawn anew for every turn (5 times a second): half a millisecond, where a plotting library needs thirty.

import { isDark, palette } from "./colours.js";
import { drawWithout } from "./without.js";
import { heardStart, playedStart, STREAMS, TURN_SECONDS } from "./history.js";
import { band, chips, heat, line, pictures, shade, stack, waveform } from "./tracks.js";

const GUTTER = 112; // pixels left of the time axis, for the names
const AXIS = 22;
const GAP = 8;
const HEARD_NOTE = ["you; boxed: what", "the model read"];
const SHARES_NOTE = ["of each decision,", "by stream"];
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];
const WITHOUT_NOTE = ["p(speak), had this", "not been; framed:", "another decision"];
const INSIDE_NOTE = ["what readers say;", "middle line: 0"];

export class Strip {
  constructor(canvas, history) {
    this.canvas = canvas;
    this.history = history;
    this.seconds = 12; // width of the window in seconds
    this.cursor = null; // the turn looked at; null: the newest
    this.zoom = 1; // of the page around it: more pixels for the same drawing
    this.only = null; // the names of the tracks that are drawn; null: all
    this.lastSecond = 0; // where a strip that stands still ends
    this.without = null; // a `why` message
    this.marks = []; // turns with a flag
    this.span = null; // [first, end) turns that are chosen
    this.offset = 0; // how many seconds the window's end lies before now
  }

  // Which tracks there are now, top to bottom.
  layout() {
    const any = (test) => this.history.turns.some(test);
    const [noPictures, noHead] = [!any((turn) => turn.picture), !any((turn) => turn.attention)];
    const noReader = !any((turn) => Object.keys(turn.read ?? {}).length);
    const heardHeight = any((turn) => turn.said) ? 90 : 68; // a recording's transcript needs a row of its own
    const tracks = [
      { name: "p(speak)", note: ["decided every", "0.2 s"], height: 78, draw: (t, y) => this.drawSpeak(t, y) },
      { name: "heard", note: HEARD_NOTE, height: heardHeight, draw: (t, y) => this.drawHeard(t, y) },
      { name: "seen", note: ["camera"], height: 46, hidden: noPictures, draw: (t, y) => this.drawSeen(t, y) },
      { name: "typed", note: ["you; answers"], height: 34, draw: (t, y) => this.drawTyped(t, y) },
      { name: "own voice", note: ["what the model", "says"], height: 102, draw: (t, y) => this.drawVoice(t, y) },
      { name: "attention", note: SHARES_NOTE, height: 64, hidden: noHead, draw: (t, y) => this.drawShares(t, y) },
      { name: "inside", note: INSIDE_NOTE, height: 84, hidden: noReader, draw: (t, y) => this.drawInside(t, y) },
      { name: "without it", note: WITHOUT_NOTE, height: 96, hidden: !this.without, draw: (t, y) => drawWithout(this, t, y) },
    ].filter((track) => !track.hidden && (!this.only || this.only.includes(track.name) || track.name === "without it"));
    let y = 2;
    for (const track of tracks) {
      track.y = y;
      y += track.height + GAP;
    }
    return { tracks, height: y + AXIS };
  }

  // Another history in the same place: what was chosen in the one before is not in it.
  show(history) {
    if (history === this.history) return;
    this.history = history;
    this.cursor = this.span = null;
    this.offset = 0;
  }

  // A turn, or, where it was skipped, the next one that was run.
  beside(turn, direction) {
    const step = Math.sign(direction);
    let at = turn;
    while (at >= 0 && at <= this.history.decided && this.history.turns[at]?.pSpeak === undefined) at += step;
    return this.history.turns[at]?.pSpeak === undefined ? this.cursor ?? turn : at;
  }

  // The turn whose decision is shown: the chosen one, or the newest.
  get shown() {
    return this.cursor ?? this.history.decided;
  }

  get end() {
    if (this.lastSecond) return this.lastSecond;
    const now = Math.max(heardStart(this.history.length), playedStart(this.history.decided) + TURN_SECONDS);
    return Math.max(this.seconds, now) - this.offset;
  }

  x(seconds) {
    return GUTTER + ((seconds - (this.end - this.seconds)) / this.seconds) * (this.width - GUTTER - 10);
  }

  // Look back (seconds > 0) or forth.
  scroll(seconds) {
    const now = this.end + this.offset;
    this.offset = Math.max(0, Math.min(now - this.seconds, this.offset + seconds));
  }

  // Scroll so that the cursor lies inside the window; without a cursor, back to now.
  reveal() {
    const now = this.end + this.offset;
    if (this.cursor === null) this.offset = 0;
    else if (playedStart(this.cursor) < this.end - this.seconds || playedStart(this.cursor) > this.end) {
      this.offset = Math.max(0, Math.min(now - this.seconds, now - playedStart(this.cursor) - this.seconds / 2));
    }
  }

  // The turn whose decision fell nearest to a pixel.
  turnAt(pixel) {
    const seconds = this.end - this.seconds + ((pixel - GUTTER) / (this.width - GUTTER - 10)) * this.seconds;
    return Math.max(0, Math.min(this.history.decided, Math.round(seconds / TURN_SECONDS) - 1));
  }

  // Choose the stretch between two turns, as far as it was begun before.
  choose(anchor, turn) {
    this.anchor = this.span ? this.anchor : anchor;
    this.span = [Math.min(this.anchor, turn), Math.max(this.anchor, turn) + 1];
  }

  // The turn that hears what lies under a pixel.
  heardAt(pixel) {
    const seconds = this.end - this.seconds + ((pixel - GUTTER) / (this.width - GUTTER - 10)) * this.seconds;
    return Math.max(0, Math.min(this.history.length - 1, Math.floor(seconds / TURN_SECONDS)));
  }

  // Turns with a part inside the window.
  *visible() {
    const first = Math.max(0, Math.floor((this.end - this.seconds) / TURN_SECONDS) - 8);
    const last = Math.min(this.history.length, Math.ceil(this.end / TURN_SECONDS) + 1);
    for (let n = first; n < last; n++) if (this.history.turns[n]) yield this.history.turns[n];
  }

  draw() {
    const { tracks, height } = this.layout();
    this.width = this.canvas.clientWidth;
    if (!this.width) return;
    const scale = (window.devicePixelRatio || 1) * this.zoom;
    const [pixelWidth, pixelHeight] = [Math.round(this.width * scale), Math.round(height * scale)];
    if (this.canvas.width !== pixelWidth || this.canvas.height !== pixelHeight) {
      this.canvas.width = pixelWidth;
      this.canvas.height = pixelHeight;
      this.canvas.style.height = `${height}px`;
    }
    this.colours = palette(isDark(this.canvas));
    this.brush = this.canvas.getContext("2d");
    this.brush.setTransform(scale, 0, 0, scale, 0, 0);
    this.brush.clearRect(0, 0, this.width, height);
    for (const track of tracks) this.drawTrack(track);
    this.drawAxis(height, tracks);
    this.drawChosen(height);
    this.drawCursor(height);
  }

  font(size, weight = 400) {
    this.brush.font = `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  }

  drawTrack(track) {
    const { brush, colours } = this;
    band(brush, GUTTER, track.y, this.width - GUTTER - 10, track.height, colours.band);
    brush.fillStyle = colours[track.name] ?? (track.name === "p(speak)" ? colours.speak : colours.ink);
    brush.fillRect(0, track.y + 4, 4, track.height - 8);
    this.font(13, 600);
    brush.textBaseline = "top";
    brush.textAlign = "left";
    brush.fillText(track.name, 12, track.y + 6);
    brush.fillStyle = colours.soft;
    this.font(11);
    track.note.forEach((line, i) => brush.fillText(line, 12, track.y + 23 + 13 * i));
    brush.save();
    brush.beginPath();
    brush.rect(GUTTER, track.y, this.width - GUTTER - 10, track.height);
    brush.clip();
    track.draw(track, track.y);
    brush.restore();
  }

  drawSpeak(track, y) {
    const { brush, colours } = this;
    const top = y + 8;
    const height = track.height - 16;
    const at = (p) => top + (1 - p) * height;
    brush.strokeStyle = colours.line;
    brush.setLineDash([3, 4]);
    brush.beginPath();
    brush.moveTo(GUTTER, at(0.5));
    brush.lineTo(this.width, at(0.5));
    brush.stroke();
    brush.setLineDash([]);
    const points = [...this.visible()].filter((turn) => turn.pSpeak !== undefined);
    let labelled = -Infinity;
    for (const turn of points) {
      const [left, right] = [this.x(playedStart(turn.turn)), this.x(playedStart(turn.turn + 1))];
      if (turn.speaking) shade(brush, left, right, y, track.height, colours.speak, 0.16);
      if (!turn.missed) continue;
      const x = this.x(heardStart(turn.turn));
      shade(brush, x - 0.5, x + 0.5, y, track.height, colours.ink, 0.5);
      if (x - labelled < 44) continue; // no room for words
      labelled = x;
      brush.fillStyle = colours.ink;
      this.font(10);
      brush.fillText(`gap ${turn.missed}`, x + 3, y + 2);
    }
    let run = [];
    for (const turn of points) {
      if (turn.missed) {
        this.drawRun(run, at); // nothing was decided in a gap
        run = [];
      }
      run.push(turn);
    }
    this.drawRun(run, at);
  }

  // The line of p(speak) over turns without a gap between them.
  drawRun(points, at) {
    if (!points.length) return;
    const { brush, colours } = this;
    const line = points.map((turn) => [this.x(playedStart(turn.turn)), at(turn.pSpeak)]);
    brush.beginPath();
    line.forEach(([x, py], i) => (i ? brush.lineTo(x, py) : brush.moveTo(x, py)));
    brush.strokeStyle = colours.speak;
    brush.lineWidth = 2;
    brush.lineJoin = "round";
    brush.stroke();
    brush.lineTo(line.at(-1)[0], at(0));
    brush.lineTo(line[0][0], at(0));
    brush.globalAlpha = 0.1;
    brush.fillStyle = colours.speak;
    brush.fill();
    brush.globalAlpha = 1;
    points.forEach((turn, i) => {
      if (!turn.speaking) return;
      brush.beginPath();
      brush.arc(...line[i], 3, 0, 2 * Math.PI);
      brush.fill();
    });
  }

  heatRow(stream, y) {
    const shown = this.history.turns[this.shown];
    if (!shown?.attention) return;
    const start = stream === "own voice" ? playedStart : heardStart;
    const x = (turn) => this.x(start(turn));
    const width = this.x(start(1)) - this.x(start(0));
    heat(this.brush, shown, STREAMS.indexOf(stream), x, width, y, this.colours[stream]);
  }

  drawHeard(track, y) {
    const turns = [...this.visible()];
    waveform(this.brush, turns, "heard", (turn) => this.x(heardStart(turn)), y + 20, 22, this.colours.heard);
    const end = (turn) => this.x(heardStart(turn.turn + 1));
    const ends = (key) => turns.filter((turn) => turn[key]).map((turn) => [end(turn), turn[key]]);
    chips(this.brush, ends("understood"), y + 38, this.colours, "heard", { side: "right", size: 13 });
    chips(this.brush, ends("said"), y + 60, this.colours, "heard", { side: "right", size: 12, boxed: false });
    this.heatRow("heard", y + track.height - 6);
  }

  drawSeen(track, y) {
    pictures(this.brush, [...this.visible()], (turn) => this.x(heardStart(turn)), y + 3, track.height - 12);
    this.heatRow("seen", y + track.height - 6);
  }

  drawTyped(track, y) {
    // what the session's policy of memory types again is marked by an arrow that comes back
    const typed = [...this.visible()].filter((turn) => turn.typed || turn.note);
    const words = (turn) => turn.typed || `\u21bb ${turn.note}`;
    chips(this.brush, typed.map((turn) => [this.x(heardStart(turn.turn)), words(turn)]), y + 5, this.colours, "typed");
    this.heatRow("typed", y + track.height - 6);
  }

  drawVoice(track, y) {
    const turns = [...this.visible()];
    const words = turns
      .filter((turn) => turn.words?.length || turn.request)
      .map((turn) => [this.x(playedStart(turn.turn)), turn.request ? `→ ${turn.request}` : turn.words.join(" ")]);
    chips(this.brush, words, y + 4, this.colours, "own voice", { rows: 2, size: 16 });
    waveform(this.brush, turns, "voice", (turn) => this.x(playedStart(turn)), y + 74, 22, this.colours["own voice"]);
    this.heatRow("own voice", y + track.height - 6);
  }

  drawShares(track, y) {
    const points = [...this.visible()]
      .map(({ turn }) => [this.x(playedStart(turn)), this.x(playedStart(turn + 1)), this.history.shares(turn)])
      .filter(([, , shares]) => shares);
    stack(this.brush, points, y + 2, track.height - 4, STREAMS.map((name) => this.colours[name]));
  }

  // Each reader's number, all on one scale about zero, told apart by dashes as well as by colour.
  drawInside(track, y) {
    const turns = [...this.visible()].filter((turn) => turn.read);
    const names = [...new Set(turns.flatMap((turn) => Object.keys(turn.read)))];
    const largest = Math.max(1e-6, ...turns.flatMap((turn) => Object.values(turn.read).map(Math.abs)));
    const middle = y + track.height / 2;
    const at = (value) => middle - (value / largest) * (track.height / 2 - 8);
    shade(this.brush, GUTTER, this.width, middle - 0.5, 1, this.colours.soft, 0.6);
    const colours = ["speak", "heard", "typed", "seen", "ink"].map((name) => this.colours[name]);
    names.forEach((name, i) => {
      const points = turns
        .filter((turn) => name in turn.read)
        .map((turn) => [this.x(playedStart(turn.turn)), at(turn.read[name])]);
      line(this.brush, points, colours[i % colours.length], DASHES[i % DASHES.length]);
    });
    this.font(11, 600);
    let left = GUTTER + 6;
    names.forEach((name, i) => {
      line(this.brush, [[left, y + 9], [left + 22, y + 9]], colours[i % colours.length], DASHES[i % DASHES.length]);
      this.brush.fillStyle = this.colours.ink;
      this.brush.fillText(name, left + 27, y + 3);
      left += 41 + this.brush.measureText(name).width;
    });
  }

  drawAxis(height, tracks) {
    const { brush, colours } = this;
    const step = this.seconds > 40 ? 10 : this.seconds > 20 ? 5 : 1;
    this.font(11);
    brush.textAlign = "center";
    brush.textBaseline = "top";
    const bottom = tracks.at(-1).y + tracks.at(-1).height;
    for (let s = Math.ceil((this.end - this.seconds) / step) * step; s <= this.end; s += step) {
      const x = this.x(s);
      shade(brush, x, x + 1, 0, bottom, colours.ink, 0.07);
      brush.fillStyle = colours.soft;
      if (x > GUTTER - 4 && x < this.width - 14) brush.fillText(`${s} s`, x, height - AXIS + 2);
    }
    brush.textAlign = "left";
  }

  // Bookmarks, numbered, and the stretch that is chosen (turns as they were heard).
  drawChosen(height) {
    const { brush, colours } = this;
    if (this.span) {
      const [left, right] = this.span.map((turn) => Math.max(GUTTER, this.x(heardStart(turn))));
      shade(brush, left, right, 0, height - AXIS, colours.typed, 0.18);
    }
    if (this.history.recorded) shade(brush, GUTTER, this.width - 10, 0, 4, colours.typed, 1);
    this.font(12, 700);
    brush.textBaseline = "top";
    this.marks.forEach((turn, i) => {
      const x = this.x(playedStart(turn));
      if (x < GUTTER) return;
      shade(brush, x - 0.75, x + 0.75, 0, height - AXIS, colours.typed, 0.9);
      brush.fillStyle = colours.typed;
      brush.fillRect(x, 0, 17, 17);
      brush.fillStyle = colours.paper;
      brush.fillText(`${i + 1}`, x + 5, 3);
    });
  }

  drawCursor(height) {
    if (this.shown < 0) return;
    const x = this.x(playedStart(this.shown));
    if (x < GUTTER) return;
    shade(this.brush, x - 0.75, x + 0.75, 0, height - AXIS, this.colours.ink, this.cursor === null ? 0.35 : 0.9);
  }

  // The shown turn in words, for the line under the strip and for screen readers.
  describe() {
    const turn = this.history.turns[this.shown];
    if (!turn || turn.pSpeak === undefined) return "";
    const parts = [
      `turn ${turn.turn}`,
      `heard ${heardStart(turn.turn).toFixed(1)}–${heardStart(turn.turn + 1).toFixed(1)} s`,
      `p(speak) ${turn.pSpeak.toFixed(2)}`,
      doing(turn),
    ];
    const shares = this.history.shares(turn.turn);
    const percent = STREAMS.map((name, i) => `${name}\u00a0${Math.round(100 * (shares?.[i] ?? 0))}\u00a0%`);
    if (shares) parts.push(`looks at ${percent.join(", ")}`);
    for (const [name, value] of Object.entries(turn.read ?? {})) parts.push(`${name} ${value.toFixed(2)}`);
    return parts.join(" · ");
  }
}

function doing({ words, request, speaking }) {
  if (request) return `asks the background model “${request}”`;
  if (words.length) return `says “${words.join(" ")}”`;
  return speaking ? "goes on speaking" : "stays silent";
}
