"use strict";
// One page, one canvas, one cursor. Times are seconds; input tiers are drawn on the heard clock, output tiers on
// the played clock, one turn later, so that everything stands where a listener would meet it.
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const TURN = 0.2;
const bytes = (b64) => Uint8Array.from(atob(b64), (c) => c.charCodeAt(0));
const heardEnv = new Int8Array(bytes(D.heard).buffer), ownEnv = new Int8Array(bytes(D.own).buffer);
const pSpeak = bytes(D.p_speak), share = D.attention && bytes(D.attention.share), lag = D.attention && bytes(D.attention.lag);
const LAGS = D.attention ? D.attention.lags : 0;
const STREAMS = ["typed", "seen", "heard", "said", "own"]; // in the order of the recording's columns
const LABEL = { typed: "typed", seen: "seen", heard: "heard", said: "said", own: "own voice" };
const canvas = $("tiers"), ctx = canvas.getContext("2d");
const view = { from: 0, to: D.seconds };
let cursor = 0, colour = {}, width = 0, height = 0, queued = false;

// ---- tiers: [name, height, gap above, caption, label, small label]
const tiers = [["ruler", 22, 0]];
if (D.seconds > 30) tiers.unshift(["map", 30, 0, "overview"]);
if (D.typed.length) tiers.push(["typed", 24, 8, "typed", "goes in"]);
if (D.seen) tiers.push(["seen", 10, 8, "camera", ""]);
tiers.push(["heard", 76, 8, "heard", "goes in"]);
tiers.push(["speak", 64, 22, "p(speak)", "line: one half"], ["decision", 12, 4, "decision", ""]);
tiers.push(["said", 44, 8, "said", "comes out"], ["own", 56, 4, "own voice", "comes out"]);
if (D.attention) {
  tiers.push(["share", 64, 22, "attention", `L${D.attention.layer}H${D.attention.head}, by stream`]);
  tiers.push(["back", 60, 8, "looked back", "from this turn"]);
}
const box = {};
let total = 0;
for (const [name, h, gap] of tiers) { total += gap; box[name] = { top: total, h, bottom: total + h }; total += h; }
for (const [name, h, , label, small] of tiers) {
  if (!label) continue;
  const div = document.createElement("div");
  div.style.top = `${box[name].top + Math.max(0, h / 2 - (small ? 16 : 9))}px`;
  div.innerHTML = `${label}${small ? `<small>${small}</small>` : ""}`;
  $("labels").append(div);
}

// ---- geometry
const x = (t) => ((t - view.from) / (view.to - view.from)) * width;
const timeAt = (px) => view.from + (px / width) * (view.to - view.from);
const perSecond = () => width / (view.to - view.from);
const clamp = (v, lo, hi) => Math.min(hi, Math.max(lo, v));
const turnAt = (t) => clamp(Math.floor(t / TURN + 1e-9), 0, Math.max(0, D.turns - 1));
function show(from, to) {
  const span = clamp(to - from, 1, Math.max(1, D.seconds));
  view.from = clamp(from, 0, Math.max(0, D.seconds - span));
  view.to = view.from + span;
  draw();
}
function zoom(factor, at = cursor) {
  const keep = at >= view.from && at <= view.to ? at : (view.from + view.to) / 2;
  show(keep - (keep - view.from) * factor, keep + (view.to - keep) * factor);
}
function moveTo(t, follow = true) {
  cursor = clamp(t, 0, D.seconds);
  if (follow && (cursor < view.from || cursor > view.to)) show(cursor - (view.to - view.from) * 0.2, cursor + (view.to - view.from) * 0.8);
  readout();
  draw();
}

// ---- drawing
function draw() { if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; paint(); }); } }
function resize() {
  const ratio = window.devicePixelRatio || 1;
  width = canvas.clientWidth; height = total + 2;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "ink", "soft", "rule", "band", "mark", "silent", "speak", "other", "cursor", ...STREAMS])
    colour[name] = style.getPropertyValue(`--${name}`).trim();
  draw();
}
const fill = (c, left, top, w, h) => { ctx.fillStyle = c; ctx.fillRect(left, top, w, h); };
function paint() {
  fill(colour.bg, 0, 0, width, height);
  ctx.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  ctx.textBaseline = "middle";
  const turn = turnAt(cursor);
  for (const [name] of tiers) if (!["map", "ruler"].includes(name)) fill(colour.band, 0, box[name].top, width, box[name].h);
  markTurn(turn);
  grid();
  if (box.typed) words("typed", D.typed.map(([t, text]) => [text, t, t + TURN]), 1);
  if (box.seen) for (const [a, b] of D.seen) fill(colour.seen, x(a), box.seen.top, x(b) - x(a), box.seen.h);
  for (const [a, b] of D.gaps) gap(x(a), x(b), box.heard);
  wave("heard", heardEnv, 0);
  speak();
  words("said", D.said, 2);
  wave("own", ownEnv, TURN);
  if (box.share) { shares(); lookedBack(turn); }
  if (box.map) map();
  const at = x(cursor);
  fill(colour.cursor, at - 0.75, box.ruler.top, 1.5, height - box.ruler.top);
}
function markTurn(turn) { // what the cursor's turn hears, and where its output sounds
  const slots = { typed: 0, seen: 0, heard: 0, speak: 1, decision: 1, said: 1, own: 1, share: 1 };
  for (const [name, later] of Object.entries(slots))
    if (box[name]) fill(colour.mark, x((turn + later) * TURN), box[name].top, TURN * perSecond(), box[name].h);
}
function grid() {
  const steps = [0.2, 1, 2, 5, 10, 30, 60, 120, 300, 600];
  const step = steps.find((s) => s * perSecond() >= 56) || 600;
  const fine = perSecond() * TURN >= 9 ? TURN : step >= 5 ? step / 5 : step;
  for (let i = Math.ceil(view.from / fine); i * fine <= view.to; i++)
    fill(colour.rule, x(i * fine), box.ruler.bottom, 1, height - box.ruler.bottom);
  ctx.fillStyle = colour.soft;
  for (let i = Math.ceil(view.from / step); i * step <= view.to; i++) {
    const t = i * step;
    fill(colour.soft, x(t), box.ruler.bottom - 6, 1, 6);
    const label = t >= 60 ? `${Math.floor(t / 60)}:${String(Math.round(t % 60)).padStart(2, "0")}` : `${+t.toFixed(1)} s`;
    if (x(t) + 4 + ctx.measureText(label).width < width) ctx.fillText(label, x(t) + 4, box.ruler.top + 9);
  }
}
function wave(name, env, offset) { // env: [bins][min, max] in -127..127, D.bins bins a turn
  const b = box[name], mid = b.top + b.h / 2, scale = b.h / 2 / 127, bin = TURN / D.bins, n = env.length / 2;
  fill(colour.rule, 0, mid, width, 1);
  ctx.fillStyle = colour[name];
  for (let px = 0; px < width; px++) {
    const a = Math.floor((timeAt(px) - offset) / bin), z = Math.max(a + 1, Math.floor((timeAt(px + 1) - offset) / bin));
    let lo = 0, hi = 0;
    for (let i = Math.max(0, a); i < Math.min(n, z); i++) { lo = Math.min(lo, env[2 * i]); hi = Math.max(hi, env[2 * i + 1]); }
    if (hi > lo) ctx.fillRect(px, mid - hi * scale, 1, Math.max(1, (hi - lo) * scale));
  }
}
function gap(left, right, b) { // nothing was heard: hatched, which no colour of a stream is
  ctx.save(); ctx.beginPath(); ctx.rect(left, b.top, Math.max(1, right - left), b.h); ctx.clip();
  ctx.strokeStyle = colour.soft; ctx.globalAlpha = 0.6; ctx.beginPath();
  for (let px = Math.max(left, -b.h) - b.h; px < Math.min(right, width); px += 6) { ctx.moveTo(px, b.bottom); ctx.lineTo(px + b.h, b.top); }
  ctx.stroke(); ctx.restore();
}
function speak() {
  const b = box.speak, d = box.decision, w = Math.max(1, TURN * perSecond() - (perSecond() * TURN > 6 ? 1 : 0));
  const first = Math.max(0, turnAt(view.from) - 1), last = Math.min(D.turns - 1, turnAt(view.to));
  for (let n = first; n <= last; n++) {
    const p = pSpeak[n] / 255, kind = D.decisions[n], left = x((n + 1) * TURN);
    const c = kind === "S" ? colour.speak : kind === "s" ? colour.silent : colour.other;
    fill(c, left, b.bottom - Math.max(1, p * b.h), w, Math.max(1, p * b.h));
    if (kind === "s") fill(c, left, d.top + d.h / 2 - 1, w, 2); else fill(c, left, d.top, w, d.h);
  }
  ctx.strokeStyle = colour.soft; ctx.setLineDash([4, 4]); ctx.beginPath();
  ctx.moveTo(0, b.top + b.h / 2); ctx.lineTo(width, b.top + b.h / 2); ctx.stroke(); ctx.setLineDash([]);
}
function words(name, list, rows) {
  const b = box[name], h = b.h / rows, free = Array(rows).fill(-1e9);
  for (const [text, start, end] of list) {
    const left = x(start), w = Math.max(3, x(end) - left), need = ctx.measureText(text).width + 8;
    if (left > width || left + Math.max(w, need) < 0) continue;
    let row = 0;
    while (row < rows - 1 && left < free[row]) row++;
    const room = left >= free[row] - 0.5, top = b.top + row * h + 2;
    ctx.globalAlpha = 0.28; fill(colour[name], left, top, w, h - 4); ctx.globalAlpha = 1;
    fill(colour[name], left, top, 2, h - 4);
    if (room) { ctx.fillStyle = colour.ink; ctx.fillText(text, left + 5, top + (h - 4) / 2 + 0.5); free[row] = left + Math.max(w, need); }
  }
}
function shares() { // stacked shares of the streams, each turn on the played clock
  const b = box.share, S = STREAMS.length, w = TURN * perSecond() + 0.6;
  for (let n = Math.max(0, turnAt(view.from) - 1); n <= Math.min(D.turns - 1, turnAt(view.to)); n++) {
    let top = b.bottom;
    for (let s = 0; s < S; s++) {
      const part = (share[n * S + s] / 255) * b.h;
      top -= part;
      ctx.globalAlpha = 0.75; fill(colour[STREAMS[s]], x((n + 1) * TURN), top, w, part); ctx.globalAlpha = 1;
    }
  }
}
function lookedBack(turn) { // for the cursor's turn: weight on each stream of each earlier turn, at that turn's place
  const b = box.back, S = STREAMS.length, h = b.h / S;
  let most = 1;
  for (let i = 0; i < S * LAGS; i++) most = Math.max(most, lag[turn * S * LAGS + i]);
  for (let s = 0; s < S; s++) {
    const later = s >= 3 ? TURN : 0;
    for (let k = 0; k < LAGS && k <= turn; k++) {
      const v = lag[(turn * S + s) * LAGS + k];
      if (!v) continue;
      ctx.globalAlpha = 0.15 + 0.85 * (v / most);
      fill(colour[STREAMS[s]], x((turn - k) * TURN + later), b.top + s * h + 1, TURN * perSecond() + 0.5, h - 2);
    }
  }
  ctx.globalAlpha = 1;
}
function map() {
  const b = box.map, sx = (t) => (t / D.seconds) * width, n = heardEnv.length / 2, mid = b.top + b.h / 2;
  fill(colour.band, 0, b.top, width, b.h);
  ctx.globalAlpha = 0.6; ctx.fillStyle = colour.heard;
  for (let px = 0; px < width; px++) {
    const a = Math.floor((px / width) * D.seconds / TURN * D.bins), z = Math.floor(((px + 1) / width) * D.seconds / TURN * D.bins);
    let hi = 0;
    for (let i = a; i < Math.min(n, Math.max(z, a + 1)); i++) hi = Math.max(hi, heardEnv[2 * i + 1]);
    ctx.fillRect(px, mid - (hi / 127) * b.h / 2, 1, Math.max(1, (hi / 127) * b.h));
  }
  ctx.globalAlpha = 1;
  for (const [, start, end] of D.said) fill(colour.said, sx(start), b.bottom - 5, Math.max(1.5, sx(end) - sx(start)), 5);
  ctx.strokeStyle = colour.ink; ctx.lineWidth = 1.5;
  ctx.strokeRect(sx(view.from) + 1, b.top + 1, Math.max(4, sx(view.to) - sx(view.from) - 2), b.h - 2);
  ctx.lineWidth = 1; fill(colour.cursor, sx(cursor) - 0.5, b.top, 1, b.h);
}
