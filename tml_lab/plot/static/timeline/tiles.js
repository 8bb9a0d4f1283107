// Tiles of a lane that is too long to be sent whole: asked for when they come into sight, a coarser one drawn meanwhile.

const AT_ONCE = 4; // requests on their way
const KEPT = 300; // tiles of a lane

// One queue for all lanes, the newest wish first: what was in sight a moment ago is no longer wanted.
export class TileQueue {
  constructor(fetch) {
    this.fetch = fetch; // (lane, level, index) -> promise of bytes
    this.waiting = [];
    this.running = 0;
  }

  want(lane, level, index) {
    return new Promise((done) => {
      this.waiting.push({ lane, level, index, done });
      if (this.waiting.length > 80) this.waiting.shift().done(null);
      this.next();
    });
  }

  async next() {
    if (this.running >= AT_ONCE || !this.waiting.length) return;
    const { lane, level, index, done } = this.waiting.pop();
    this.running += 1;
    try {
      done(await this.fetch(lane, level, index));
    } catch (error) {
      console.warn(error);
      done(null);
    }
    this.running -= 1;
    this.next();
  }
}

export class LaneTiles {
  constructor(number, tiles, queue, arrived) {
    Object.assign(this, { number, queue, arrived, ...tiles }); // form, columns, seconds, start, counts, finest
    this.here = new Map();
    this.asked = new Set();
  }

  // The coarsest level whose columns are at most `pixels` wide.
  level(perSecond, pixels = 1) {
    let level = this.finest;
    while (level + 1 < this.seconds.length && this.seconds[level + 1] * perSecond <= pixels) level += 1;
    return level;
  }

  get(level, index) {
    const key = `${level}/${index}`;
    const tile = this.here.get(key);
    if (!tile && !this.asked.has(key)) this.ask(key, level, index);
    return tile;
  }

  async ask(key, level, index) {
    this.asked.add(key);
    const bytes = await this.queue.want(this.number, level, index);
    const tile = bytes && (await decode[this.form](bytes, this.columns));
    this.asked.delete(key);
    if (!tile) return;
    this.here.set(key, tile);
    if (this.here.size > KEPT) this.here.delete(this.here.keys().next().value);
    this.arrived();
  }

  // Calls draw(tile, seconds of a column, begin of the tile, from, to) for what is in sight, coarser where it is missing.
  each(level, from, to, draw) {
    const length = this.seconds[level] * this.columns;
    const last = Math.min(this.counts[level] - 1, Math.floor((to - this.start) / length));
    for (let index = Math.max(0, Math.floor((from - this.start) / length)); index <= last; index++) {
      let [tile, at, which] = [this.get(level, index), level, index];
      const begin = this.start + index * length;
      while (!tile && at + 1 < this.seconds.length) {
        [at, which] = [at + 1, Math.floor((begin - this.start) / (this.seconds[at + 1] * this.columns) + 1e-9)];
        tile = this.here.get(`${at}/${which}`);
      }
      if (!tile) continue;
      const step = this.seconds[at];
      draw(tile, step, this.start + which * step * this.columns, Math.max(from, begin), Math.min(to, begin + length));
    }
  }
}

const aligned = (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);

const decode = {
  wave: (bytes) => ({ values: new Int16Array(aligned(bytes)) }),
  image: (bytes, columns) => ({ values: bytes, columns, rows: bytes.length / columns }),
  back: (bytes) => ({ values: bytes }),
  pictures: async (bytes, columns) => {
    const there = bytes.slice(0, columns);
    const picture = there.some(Boolean) ? await createImageBitmap(new Blob([bytes.slice(columns)])) : null;
    return { there, picture };
  },
};
