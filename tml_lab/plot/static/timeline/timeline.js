// A recording on one time axis. The same in a notebook and on a page of its own: `source` is where it comes from.
//
// source.content   what Python's `timeline_content` made
// source.state     get(name), set(name, value), on(name, act): t, selection, view, theme, size
// source.tile(lane, level, index), source.player(), source.exports, source.export(kind, selectionOnly)

import { Axis, clamp, firstFrom } from "./axis.js";
import { Bar, frame } from "./bar.js";
import { listen } from "./keys.js";
import { Listening } from "./listening.js";
import { lookOf, watchPage } from "./look.js";
import { drawOverlay } from "./overlay.js";
import { LaneRow, Row } from "./rows.js";
import { overview, ruler, turnNumbers } from "./ruler.js";
import { TileQueue } from "./tiles.js";
import { caption, describe, fillTable } from "./words.js";

const GROUPS = { in: "in · heard clock", inside: "inside · heard clock", out: "out · played clock" };
const SHORT = 30; // milliseconds of painting in one frame
const OFTEN = 200; // milliseconds between two messages about a moving cursor

export class Timeline {
  constructor(element, source) {
    this.source = source;
    this.state = source.state;
    this.content = source.content;
    this.axis = new Axis(this.content.seconds);
    this.root = frame(this.content.title, this.content.facts);
    element.append(this.root);
    const find = (name) => this.root.querySelector(`.tml-${name}`);
    [this.stage, this.lanes, this.pins, this.overlay] = ["stage", "lanes", "pins", "overlay"].map(find);
    [this.readout, this.status, this.captions, this.words] = ["readout", "status", "captions", "words"].map(find);
    this.said = this.content.lanes.find(({ group, kind }) => group === "out" && kind === "tier")?.data.words ?? [];
    this.heard = this.content.lanes.find(({ name }) => /^words/.test(name))?.data.words ?? [];
    this.t = this.state.get("t");
    this.selection = this.state.get("selection");
    this.makeRows();
    this.makeBar();
    this.sound = new Listening(this, source.player(), this.bar);
    if (source.noSound) this.say(source.noSound);
    listen(this);
    this.follow();
    const view = this.state.get("view");
    if (view) this.axis.show(...view);
    this.restyle();
    this.selected(this.selection);
    this.tellAll();
  }

  makeRows() {
    const { content } = this;
    const queue = new TileQueue(this.source.tile);
    const changed = () => {
      this.rows[0].stale = true; // the overview is drawn from a tile too
      this.draw();
    };
    this.laneRows = content.lanes.map((lane, n) => new LaneRow(lane, n, queue, changed));
    const wave = content.lanes.find(({ kind }) => kind === "wave");
    const said = content.lanes.find(({ group, kind }) => group === "out" && kind === "tier");
    const top = [
      new Row({ group: "ruler", kind: "overview", name: "", height: 34, paint: (brush, look) => overview(brush, look, wave, said, this.t) }),
      new Row({ group: "ruler", kind: "ruler", name: "seconds", height: 20, paint: ruler }),
    ];
    this.root.querySelector(".tml-top").append(...top.map((row) => row.line));
    this.rows = [...top];
    for (const [group, title] of Object.entries(GROUPS)) {
      const late = group === "out" ? 1 : 0;
      const paint = group === "inside" ? () => {} : (brush, look) => turnNumbers(brush, look, late, content.turns, content.turnSeconds);
      const heading = new Row({ group: group === "out" ? "parting" : group, kind: "heading", name: title, height: 17, paint });
      if (group === "out") this.parting = heading;
      this.rows.push(heading, ...this.laneRows.filter((row) => row.group === group));
    }
    this.lanes.append(...this.rows.slice(2).map((row) => row.line));
    for (const row of this.laneRows) row.buttons(() => this.pin(row), () => this.show(row, false));
    this.lanes.addEventListener("scroll", () => this.drawOverlay());
  }

  makeBar() {
    this.bar = new Bar(this.root, {
      play: () => this.sound.toggle(), loop: () => this.sound.loop(), slow: () => this.sound.slow(),
      listen: (value) => this.sound.player.hear(value),
      in: () => this.axis.zoom(0.5, this.at), out: () => this.axis.zoom(2, this.at), near: () => this.near(),
      all: () => this.axis.show(0, this.axis.seconds), captions: (on) => this.setCaptions(on), help: () => this.help(),
      projector: (on) => this.state.set("size", on ? "projector" : "normal"), theme: (name) => this.state.set("theme", name),
    });
    this.bar.lanes(this.laneRows, (row, on) => this.show(row, on));
    this.bar.exports(this.source.exports, (kind, part) => this.export(kind, part));
    const details = this.words;
    details.addEventListener("toggle", () => this.tabulate());
    const go = ({ target, type, key }) => {
      const line = target.closest("tr[data-at]");
      if (line && (type === "click" || key === "Enter")) this.moveTo(Number(line.dataset.at), { seek: true });
    };
    for (const type of ["click", "keydown"]) details.addEventListener(type, go);
  }

  // Follow what others change: Python, another view of the same widget, the page around.
  follow() {
    const stops = [
      this.state.on("t", () => this.told || this.moveTo(this.state.get("t"), { tell: false, seek: true })),
      this.state.on("selection", () => this.selected(this.state.get("selection"))),
      this.state.on("view", () => this.state.get("view") && !this.showing && this.axis.show(...this.state.get("view"))),
      this.state.on("theme", () => this.restyle()),
      this.state.on("size", () => this.restyle()),
    ];
    this.axis.moved = () => {
      for (const row of this.rows) row.stale = true;
      this.draw();
      this.tellView();
    };
    const sized = new ResizeObserver(() => this.resize());
    sized.observe(this.stage);
    stops.push(watchPage(() => this.restyle()), () => this.sound.close());
    this.dispose = () => {
      for (const stop of stops) stop();
      sized.disconnect();
      this.root.remove();
    };
  }

  tellView() {
    this.table ??= setTimeout(() => ([this.table] = [null, this.tabulate()]), OFTEN);
    this.viewed ??= setTimeout(() => {
      this.viewed = null;
      this.showing = true; // our own news comes back at once
      this.state.set("view", [this.axis.from, this.axis.to]);
      this.showing = false;
    }, OFTEN);
  }

  // ---- looks

  restyle() {
    const [theme, size] = [this.state.get("theme"), this.state.get("size")];
    this.look = lookOf(this.root, theme, size, this.content.dark);
    Object.assign(this.root.dataset, { theme: this.look.theme, size });
    this.bar.of("theme").value = theme;
    this.bar.of("projector").checked = size === "projector";
    for (const row of this.rows) row.stale = true;
    for (const row of this.laneRows) row.key(this.look.colour);
    this.resize();
  }

  resize() {
    this.gutter = this.lanes.firstElementChild.querySelector(".tml-label").offsetWidth;
    const width = Math.max(50, Math.round(this.lanes.clientWidth - this.gutter));
    if (width !== this.axis.width) for (const row of this.rows) row.stale = true;
    this.axis.width = width;
    this.draw();
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const { axis, content, turn } = this;
      const look = { axis, turn, turnSeconds: content.turnSeconds, ratio: devicePixelRatio || 1, ...this.look };
      const began = performance.now();
      for (const row of this.rows) if (performance.now() - began < SHORT) row.draw(look);
      this.drawOverlay();
      if (this.rows.some((row) => row.stale && !row.line.hidden)) this.draw(); // the others in the next frame
    });
  }

  drawOverlay() {
    const stage = this.stage.getBoundingClientRect();
    const port = this.lanes.getBoundingClientRect();
    const place = (row) => {
      const box = row.line.getBoundingClientRect();
      const inside = row.line.parentElement === this.lanes;
      const [low, high] = inside ? [port.top, port.bottom] : [-Infinity, Infinity];
      return { group: row.group, top: clamp(box.top, low, high) - stage.top, bottom: clamp(box.bottom, low, high) - stage.top };
    };
    const shown = this.rows.slice(1).filter((row) => !row.line.hidden);
    const parting = place(this.parting);
    const rows = shown.filter((row) => row !== this.parting).map(place).sort((a, b) => a.top - b.top);
    const { axis, t, turn, selection, gutter } = this;
    drawOverlay(this.overlay, {
      axis, rows, parting: parting.bottom - parting.top > 4 ? parting : null, t, turn, selection, left: gutter,
      turnSeconds: this.content.turnSeconds, colours: this.look, ratio: devicePixelRatio || 1,
    });
  }

  // ---- cursor

  get turn() {
    return this.t === null || !this.content.turns ? null : this.turnOf(this.t);
  }

  turnOf(t) {
    return clamp(Math.floor(t * this.content.turnsPerSecond + 1e-6), 0, Math.max(0, this.content.turns - 1));
  }

  turnSpan(turn) {
    const { turnsPerSecond } = this.content;
    return [turn / turnsPerSecond, (turn + 1) / turnsPerSecond]; // one division: 3 * 0.2 is not 0.6
  }

  // Where things happen: the cursor, or the begin of what is in sight.
  get at() {
    return this.t ?? this.axis.from;
  }

  moveTo(t, { follow = true, seek = false, tell = true } = {}) {
    const before = this.turn;
    this.t = t === null ? null : clamp(t, 0, this.axis.seconds);
    this.anchor = this.t ?? 0;
    if (follow && this.t !== null) this.axis.reveal(this.t);
    if (seek) this.sound.seek(this.t);
    if (tell) this.tell();
    if (before !== this.turn) for (const row of this.laneRows) if (row.lane.kind === "back") row.stale = true;
    this.rows[0].stale = true;
    this.tellAll();
    this.draw();
  }

  // The cursor to Python; while it moves with the sound, not more often than is of use.
  tell(atOnce = !this.sound.playing) {
    if (this.telling && !atOnce) return;
    const say = () => {
      this.told = true; // our own news comes back at once
      this.state.set("t", this.t);
      this.told = false;
    };
    clearTimeout(this.telling);
    this.telling = atOnce ? null : setTimeout(() => ([this.telling] = [null, say()]), OFTEN);
    if (atOnce) say();
  }

  tellAll() {
    const { t, turn } = this;
    for (const row of this.laneRows) row.tell(t);
    const text = describe(this.content, this.said, turn);
    if (this.readout.textContent !== text) this.readout.textContent = text;
    const { stage } = this;
    stage.setAttribute("aria-label", this.content.alt);
    stage.setAttribute("aria-valuemin", "0");
    stage.setAttribute("aria-valuemax", String(this.axis.seconds));
    stage.setAttribute("aria-valuenow", String(t ?? 0));
    stage.setAttribute("aria-valuetext", text);
    if (this.captions.hidden) return;
    const [heard, own] = this.captions.children;
    heard.textContent = t === null ? "" : caption(this.heard, t);
    own.textContent = t === null ? "" : caption(this.said, t);
  }

  // A turn back or forth; with `selects` the selection grows with it.
  step(by, selects) {
    const { turnsPerSecond } = this.content;
    const turns = this.at * turnsPerSecond;
    const next = by > 0 ? Math.floor(turns + 1e-6) + 1 : Math.ceil(turns - 1e-6) - 1;
    const from = this.selection ? (Math.abs(this.selection[0] - this.at) < 1e-6 ? this.selection[1] : this.selection[0]) : this.at;
    this.moveTo(next / turnsPerSecond, { seek: !selects });
    if (selects) this.select(from, this.at);
    else this.clearSelection();
  }

  word(by) {
    const from = firstFrom(this.said, by > 0 ? this.at + 1e-6 : this.at - 1e-6);
    const word = this.said[by > 0 ? from : from - 1];
    if (word) this.moveTo(word[0], { seek: true });
  }

  // Zoom to the selection, else to the cursor's turn.
  near() {
    const [from, to] = this.selection ?? this.turnSpan(this.turnOf(this.at));
    const room = this.selection ? 0.08 * (to - from) : 3 * this.content.turnSeconds;
    this.axis.show(from - room, to + room + (this.selection ? 0 : this.content.turnSeconds));
  }

  // ---- selection

  select(a, b, last = true) {
    const [from, to] = [Math.min(a, b), Math.max(a, b)].map((t) => clamp(t, 0, this.axis.seconds));
    if (to - from < 1e-6) return this.clearSelection();
    this.selected([from, to]);
    if (last) this.state.set("selection", [from, to]);
    return undefined;
  }

  clearSelection() {
    if (!this.selection) return;
    this.selected(null);
    this.state.set("selection", null);
  }

  selected(selection) {
    this.selection = selection;
    this.bar.selected(selection);
    this.drawOverlay();
  }

  // ---- rows, captions, table, help, export

  rowOf(element) {
    return this.laneRows.find((row) => row.line.contains(element));
  }

  show(row, on) {
    row.line.hidden = !on;
    row.tick.checked = on;
    row.stale = true;
    this.resize();
  }

  // Pinned lanes stand above the others, and do not scroll.
  pin(row) {
    const pinned = row.line.parentElement === this.lanes;
    row.pin.setAttribute("aria-pressed", String(pinned));
    if (pinned) this.pins.append(row.line);
    else this.lanes.insertBefore(row.line, this.rows.slice(this.rows.indexOf(row) + 1).find((one) => one.line.parentElement === this.lanes)?.line ?? null);
    row.pin.focus({ preventScroll: true }); // it was lost when the row was moved
    this.resize();
  }

  setCaptions(on = this.captions.hidden) {
    this.captions.hidden = !on;
    this.bar.of("captions").checked = on;
    this.tellAll();
  }

  tabulate() {
    if (this.words.open) fillTable(this.words.querySelector("table"), this.content.lanes, this.axis.from, this.axis.to);
  }

  help() {
    const keys = this.root.querySelector(".tml-keys");
    if (keys.open) keys.close();
    else keys.showModal();
  }

  say(text) {
    this.status.textContent = text;
  }

  async export(kind, selectionOnly) {
    this.say(`Writing ${kind} …`);
    this.say(await this.source.export(kind, selectionOnly));
  }
}

