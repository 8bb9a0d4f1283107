// A click or the arrow keys move the cursor of a linked timeline; it covers one turn, in all tracks at once.
const page = document.getElementById("{plot_id}");
const { notes, perSecond } = LINKED;
page.tabIndex = 0;
page.style.outlineOffset = "-2px";

function moveTo(turn) {
  if (!notes.length) return;
  turn = Math.max(0, Math.min(notes.length - 1, turn));
  const shape = page.layout.shapes.findIndex((one) => one.name === "cursor");
  const note = page.layout.annotations.findIndex((one) => one.name === "readout");
  page.dataset.turn = turn;
  page.dataset.t = turn / perSecond;
  Plotly.relayout(page, {
    [`shapes[${shape}].visible`]: true,
    [`shapes[${shape}].x0`]: turn / perSecond,
    [`shapes[${shape}].x1`]: (turn + 1) / perSecond,
    [`annotations[${note}].text`]: notes[turn],
  });
  page.dispatchEvent(new CustomEvent("timeline-cursor", { detail: { turn, t: turn / perSecond } }));
}

page.on("plotly_click", ({ event }) => {
  // where the pointer is, not which point is nearest to it
  const left = page.getBoundingClientRect().left + page._fullLayout._size.l;
  page.focus({ preventScroll: true }); // so that the arrow keys go on from here
  moveTo(Math.floor(page._fullLayout.xaxis.p2d(event.clientX - left) * perSecond));
});
page.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  moveTo(page.dataset.turn === undefined ? 0 : Number(page.dataset.turn) + by);
});
