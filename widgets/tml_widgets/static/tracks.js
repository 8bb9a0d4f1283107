// The shapes the strip is made of. Each takes a 2D context, and pixels already on the time axis.

export function band(brush, x, y, width, height, colour) {
  brush.fillStyle = colour;
  brush.beginPath();
  brush.roundRect(x, y, width, height, 4);
  brush.fill();
}

export function shade(brush, x0, x1, y, height, colour, alpha) {
  brush.globalAlpha = alpha;
  brush.fillStyle = colour;
  brush.fillRect(x0, y, x1 - x0, height);
  brush.globalAlpha = 1;
}

// Points [x, y] joined in their order.
export function line(brush, points, colour, dash = []) {
  brush.strokeStyle = colour;
  brush.lineWidth = 2;
  brush.setLineDash(dash);
  brush.beginPath();
  points.forEach(([x, y], i) => (i ? brush.lineTo(x, y) : brush.moveTo(x, y)));
  brush.stroke();
  brush.setLineDash([]);
}

// Loudness as bars about a middle line; the square root lets quiet speech be seen.
export function waveform(brush, turns, key, x, middle, reach, colour) {
  brush.fillStyle = colour;
  for (const turn of turns) {
    if (!turn[key]) continue;
    const left = x(turn.turn);
    const width = (x(turn.turn + 1) - left) / turn[key].length;
    turn[key].forEach((level, i) => {
      const half = Math.max(0.5, Math.min(1, Math.sqrt(level * 2.2)) * (reach - 4));
      brush.fillRect(left + i * width, middle - half, Math.max(1, width - 0.8), 2 * half);
    });
  }
}

// Words in rounded boxes at [x, text]. A box never covers another: it goes to the next row, or moves aside.
export function chips(brush, items, y, colours, stream, { rows = 1, side = "left", size = 14, boxed = true } = {}) {
  brush.font = `600 ${size}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  brush.textBaseline = "middle";
  brush.textAlign = "left";
  const free = Array(rows).fill(-Infinity); // where each row's last box ends
  for (const [x, text] of items) {
    const width = brush.measureText(text).width + 12;
    const wanted = side === "right" ? x - width : x;
    let row = free.findIndex((end) => end <= wanted);
    if (row < 0) row = free.indexOf(Math.min(...free));
    const left = Math.max(free[row], wanted);
    const top = y + row * (size + 10);
    free[row] = left + width + 3;
    brush.globalAlpha = boxed ? 0.18 : 0;
    brush.fillStyle = colours[stream];
    brush.beginPath();
    brush.roundRect(left, top, width, size + 7, 5);
    brush.fill();
    brush.globalAlpha = 1;
    brush.fillStyle = boxed ? colours.ink : colours.soft;
    brush.fillText(text, left + 6, top + (size + 8) / 2);
  }
}

export function pictures(brush, turns, x, y, height) {
  for (const turn of turns) {
    if (!turn.picture) continue;
    const width = (height * turn.picture.width) / turn.picture.height;
    brush.drawImage(turn.picture, x(turn.turn), y, width, height);
  }
}

// Where one decision looked: a row of cells, one per turn, the darker the more attention.
export function heat(brush, shown, row, x, width, y, colour) {
  const weights = shown.attention.rows[row];
  brush.fillStyle = colour;
  weights.forEach((weight, back) => {
    const turn = shown.turn - back;
    if (turn < 0 || weight <= 0) return;
    brush.globalAlpha = Math.max(0.05, Math.sqrt(weight / shown.attention.peak));
    brush.fillRect(x(turn), y, Math.max(1, width - 0.5), 5);
  });
  brush.globalAlpha = 1;
}

// Shares that sum to 1, stacked in columns of one turn: [left, right, [share per stream]].
export function stack(brush, columns, y, height, colours) {
  brush.globalAlpha = 0.8;
  for (const [left, right, shares] of columns) {
    let top = y;
    shares.forEach((share, stream) => {
      brush.fillStyle = colours[stream];
      brush.fillRect(left, top, right - left - 0.5, share * height);
      top += share * height;
    });
  }
  brush.globalAlpha = 1;
}
