// What Python's `timeline_content` made, with its arrays in their place: a header, and buffers that it points into.

const KINDS = { f4: Float32Array, u1: Uint8Array };

function array({ buffer, kind }, buffers) {
  const view = buffers[buffer];
  return new KINDS[kind](view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

export function unpack(header, buffers) {
  const lanes = header.lanes.map((lane) => ({
    ...lane,
    arrays: Object.fromEntries(Object.entries(lane.arrays).map(([name, where]) => [name, array(where, buffers)])),
  }));
  const { names, codes, p } = header.decisions;
  return { ...header, lanes, decisions: { names, codes: array(codes, buffers), p: array(p, buffers) } };
}

// int16 bytes of [2, n] -> [heard, own] as Float32Arrays
export function soundOf(view) {
  const all = new Int16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  const half = all.length / 2;
  return [all.subarray(0, half), all.subarray(half)].map((side) => Float32Array.from(side, (sample) => sample / 32768));
}
