// Over all rows: the selection, the cursor, and its turn on both clocks. What it heard stands in one place, and what it
// decided sounds one turn later: two bands, joined where the clocks part.

const BAND = 0.16;

// rows: [{group, kind, top, bottom}] in pixels of the overlay; `parting`: the row between the two clocks.
export function drawOverlay(canvas, { axis, left, rows, parting, t, turn, turnSeconds, selection, colours, ratio }) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) [canvas.width, canvas.height] = [pixelWidth, pixelHeight];
  const brush = canvas.getContext("2d");
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, width, height);
  brush.save();
  brush.beginPath();
  brush.rect(left, 0, axis.width, height);
  brush.clip();
  brush.translate(left, 0);
  const [top, bottom] = [rows[0]?.top ?? 0, rows.at(-1)?.bottom ?? height];
  if (selection) {
    const [a, b] = selection.map((at) => axis.x(at));
    brush.globalAlpha = 0.14;
    brush.fillStyle = colours.select;
    brush.fillRect(a, top, b - a, bottom - top);
    brush.globalAlpha = 1;
    for (const at of [a, b - 1.5]) brush.fillRect(at, top, 1.5, bottom - top);
  }
  if (turn !== null && turnSeconds * axis.perSecond >= 3) twoClocks(brush, { axis, rows, parting, turn, turnSeconds, colours });
  if (t !== null) {
    brush.fillStyle = colours.cursor;
    brush.fillRect(axis.x(t) - 0.75, top, 1.5, bottom - top);
  }
  brush.restore();
}

function twoClocks(brush, { axis, rows, parting, turn, turnSeconds, colours }) {
  const edges = (late) => [axis.x((turn + late) * turnSeconds), axis.x((turn + late + 1) * turnSeconds)];
  const [heard, played] = [edges(0), edges(1)];
  brush.fillStyle = colours.mark;
  brush.globalAlpha = BAND;
  for (const { group, top, bottom } of rows) {
    if (group === "ruler") continue;
    const [a, b] = group === "out" ? played : heard;
    brush.fillRect(a, top, b - a, bottom - top);
  }
  if (parting) {
    brush.globalAlpha = BAND * 2;
    brush.beginPath();
    brush.moveTo(heard[0], parting.top);
    brush.lineTo(heard[1], parting.top);
    brush.lineTo(played[1], parting.bottom);
    brush.lineTo(played[0], parting.bottom);
    brush.fill();
  }
  brush.globalAlpha = 1;
}
