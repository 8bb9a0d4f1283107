// ---- readout, table, legend
const escape = (s) => s.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const NAMES = { s: "silent", S: "speak", d: "delegate", t: "tool", "?": "other" };
const sec = (t) => t.toFixed(1);
function readout() {
  if (!D.turns) { $("readout").textContent = "There is no turn in this recording."; return; }
  const n = turnAt(cursor), said = D.said.filter(([, s]) => s >= (n + 1) * TURN - 1e-6 && s < (n + 2) * TURN - 1e-6);
  let html = `<b>turn ${n}</b> · hears ${sec(n * TURN)} to ${sec((n + 1) * TURN)} s, plays ${sec((n + 1) * TURN)} to ${sec((n + 2) * TURN)} s · ` +
    `decides <b>${NAMES[D.decisions[n]]}</b>, p(speak) ${(pSpeak[n] / 255).toFixed(2)}`;
  if (said.length) html += ` · says <b>${escape(said.map(([w]) => w).join(" "))}</b>`;
  if (D.attention) {
    const S = STREAMS.length, parts = STREAMS.map((s, i) => [share[n * S + i] / 255, s]).filter(([v]) => v >= 0.01).sort((a, b) => b[0] - a[0]);
    html += `<br>L${D.attention.layer}H${D.attention.head} looks at ${parts.map(([v, s]) => `${LABEL[s]} ${Math.round(v * 100)} %`).join(", ")}`;
  }
  $("readout").innerHTML = html;
}
$("facts").textContent = D.facts;
$("legend").innerHTML = STREAMS.map((s) => `<span class="chip" style="background:var(--${s})"></span>${LABEL[s]}`).join("") +
  `. Shaded: what the cursor's turn hears, and where its output sounds, one turn later.`;
const rows = [...D.typed.map(([t, w]) => [t, "typed", w]), ...D.said.map(([w, t]) => [t, "said", w])].sort((a, b) => a[0] - b[0]);
$("words").innerHTML = "<tr><th>seconds</th><th></th><th>words</th></tr>" +
  rows.map(([t, how, w]) => `<tr data-at="${t}"><td>${t.toFixed(2)}</td><td>${how}</td><td>${escape(w)}</td></tr>`).join("");
$("words").addEventListener("click", (e) => { const row = e.target.closest("tr[data-at]"); if (row) moveTo(+row.dataset.at); });

// ---- sound: two players, kept together
const players = [$("audio-in"), $("audio-own")];
if (D.audio) {
  players[0].src = D.audio.heard; players[1].src = D.audio.own;
} else $("play").disabled = true;
let playing = false;
function seek() { for (const p of players) if (p.src) p.currentTime = Math.min(cursor, p.duration || cursor); }
function toggle() {
  if (!D.audio) return;
  playing = !playing;
  if (playing) {
    if (cursor >= D.seconds - 0.05) moveTo(0);
    seek();
    Promise.all(players.map((p) => p.play())).then(() => requestAnimationFrame(follow), () => { playing = false; mark(); });
  } else players.forEach((p) => p.pause());
  mark();
}
function mark() { $("play").innerHTML = playing ? "&#10074;&#10074;" : "&#9654;"; }
function follow() {
  if (!playing) return;
  const clock = players[1].ended ? players[0] : players[1]; // the model's voice is the longer file
  if (players.every((p) => p.ended)) { playing = false; players.forEach((p) => p.pause()); mark(); return; }
  if (!players[0].ended && Math.abs(players[0].currentTime - players[1].currentTime) > 0.08) players[0].currentTime = players[1].currentTime;
  moveTo(clock.currentTime);
  requestAnimationFrame(follow);
}
$("hear-in").onchange = (e) => { players[0].muted = !e.target.checked; };
$("hear-own").onchange = (e) => { players[1].muted = !e.target.checked; };

// ---- pointer and keys
const place = (t) => { moveTo(t, false); if (playing) seek(); };
let drag = null;
canvas.addEventListener("pointerdown", (e) => {
  const y = e.offsetY, inMap = box.map && y < box.map.bottom;
  canvas.setPointerCapture(e.pointerId); canvas.focus({ preventScroll: true });
  drag = inMap ? "map" : "cursor";
  dragged(e);
});
canvas.addEventListener("pointermove", (e) => { if (drag) dragged(e); });
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { drag = null; });
function dragged(e) {
  if (drag === "map") { const t = (e.offsetX / width) * D.seconds, half = (view.to - view.from) / 2; cursor = clamp(t, 0, D.seconds); show(t - half, t + half); place(t); } else place(timeAt(e.offsetX));
}
canvas.addEventListener("wheel", (e) => {
  const across = Math.abs(e.deltaX) > Math.abs(e.deltaY);
  if (!(e.ctrlKey || e.metaKey || e.shiftKey || across)) return; // a plain wheel scrolls the page
  e.preventDefault();
  if (e.ctrlKey || e.metaKey) zoom(Math.exp(e.deltaY * 0.004), timeAt(e.offsetX));
  else { const by = (across ? e.deltaX : e.deltaY) / perSecond(); show(view.from + by, view.to + by); }
}, { passive: false });
function step(by) { // turn boundaries, so that the arrows and the grid agree
  const unit = Math.abs(by), k = Math.round((cursor / unit) * 1e6) / 1e6;
  place((by > 0 ? Math.floor(k) + 1 : Math.ceil(k) - 1) * unit); moveTo(cursor);
}
function word(direction) {
  const starts = D.said.map(([, t]) => t);
  const next = direction > 0 ? starts.find((t) => t > cursor + 1e-6) : starts.filter((t) => t < cursor - 1e-6).pop();
  if (next !== undefined) { place(next); moveTo(next); }
}
const keys = {
  ArrowRight: (e) => step(e.shiftKey ? 1 : TURN), ArrowLeft: (e) => step(e.shiftKey ? -1 : -TURN),
  Home: () => { place(0); moveTo(0); }, End: () => { place(D.seconds); moveTo(D.seconds); }, n: () => word(1), p: () => word(-1),
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: () => show(0, D.seconds), " ": () => toggle(),
};
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || (e.key === " " && ["BUTTON", "INPUT", "SUMMARY"].includes(e.target.tagName))) return;
  const act = keys[e.key];
  if (act) { e.preventDefault(); act(e); }
});
$("play").onclick = toggle; $("in").onclick = () => zoom(0.6); $("out").onclick = () => zoom(1 / 0.6); $("all").onclick = () => show(0, D.seconds);
new ResizeObserver(resize).observe(canvas.parentElement);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);

const firstWord = D.said.length ? D.said[0][1] : 0;
cursor = Math.max(0, firstWord - TURN + 1e-6); // the turn that decided to say the first word
resize();
if (D.seconds > 40) show(firstWord - 6, firstWord + 24);
readout();
