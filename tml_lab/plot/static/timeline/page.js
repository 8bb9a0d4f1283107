// The timeline on a page of its own: all that it needs lies in the page, or, long sound, beside it.

import { unpack } from "./content.js";
import { LinkedSound } from "./linked_sound.js";
import { Player, RATE } from "./player.js";
import { Timeline } from "./timeline.js";

const BLOCK = 2; // seconds, as the player asks for them

async function inflated(base64) {
  const packed = await fetch(`data:application/octet-stream;base64,${base64}`); // decoded beside the page's own thread
  const stream = packed.body.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function plainState(start) {
  const values = { t: null, selection: null, view: null, theme: "auto", size: "normal", ...start };
  const acts = {};
  return {
    get: (name) => values[name],
    set: (name, value) => {
      values[name] = value;
      for (const act of acts[name] ?? []) act();
    },
    on: (name, act) => {
      (acts[name] ??= new Set()).add(act);
      return () => acts[name].delete(act);
    },
  };
}

// FLAC files in the page, decoded when the first block is asked for.
function soundInside(files) {
  const decoded = (file) => {
    const context = new OfflineAudioContext(1, 1, RATE);
    return context.decodeAudioData(file.slice().buffer).then((buffer) => buffer.getChannelData(0));
  };
  let both = null;
  return async (number) => {
    both ??= Promise.all(files.map(decoded));
    return (await both).map((samples) => {
      const piece = new Float32Array(BLOCK * RATE);
      piece.set(samples.subarray(number * BLOCK * RATE, (number + 1) * BLOCK * RATE));
      return piece;
    });
  };
}

async function start() {
  const read = (id) => document.getElementById(id).textContent;
  const { header, sizes, tiles, sound, view } = JSON.parse(read("header"));
  const all = await inflated(read("bytes"));
  let at = 0;
  const buffers = sizes.map((size) => all.subarray(at, (at += size)));
  const content = unpack(header, buffers);
  const player = () => {
    if (sound?.addresses) return new LinkedSound(content.seconds, sound.addresses);
    return sound ? new Player(content.seconds, soundInside(sound.buffers.map((n) => buffers[n]))) : null;
  };
  window.timeline = new Timeline(document.getElementById("timeline"), {
    content, player, exports: [], state: plainState(view),
    tile: async (lane, level, index) => buffers[tiles[`${lane}/${level}/${index}`]] ?? null,
    noSound: sound ? "" : "The sound is too long to lie inside this page.",
  });
}

start();
