// The timeline in a notebook: traits are its state, messages with buffers bring what is drawn and heard.

import { soundOf, unpack } from "./content.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";

const PATIENCE = 4000; // milliseconds
const KEPT = 8; // blocks of sound

// Questions to Python, and their answers.
class Questions {
  constructor(model) {
    this.model = model;
    this.open = new Map();
    this.number = 0;
    this.answer = (message, buffers) => {
      this.open.get(message.answers)?.(message, buffers);
      this.open.delete(message.answers);
    };
    model.on("msg:custom", this.answer);
  }

  ask(content) {
    const number = ++this.number;
    return new Promise((done) => {
      this.open.set(number, (message, buffers) => done({ ...message, buffers }));
      this.model.send({ ...content, asks: number });
    });
  }
}

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function stateOf(model) {
  return {
    get: (name) => model.get(name),
    set: (name, value) => {
      model.set(name, value);
      model.save_changes();
    },
    on: (name, act) => {
      model.on(`change:${name}`, act);
      return () => model.off(`change:${name}`, act);
    },
  };
}

export default {
  async render({ model, el }) {
    const questions = new Questions(model);
    const note = document.createElement("p");
    note.textContent = "Loading the timeline …";
    el.append(note);
    const late = setTimeout(() => {
      note.textContent = "Python does not answer: run the cell again (or wait, while another cell is running).";
    }, PATIENCE);
    const { header, buffers } = await questions.ask({ kind: "content" });
    clearTimeout(late);
    note.remove();
    const content = unpack(header, buffers);
    const blocks = new Map();
    const block = (n) => {
      if (!blocks.has(n)) blocks.set(n, questions.ask({ kind: "sound", block: n }).then((reply) => soundOf(reply.buffers[0])));
      if (blocks.size > KEPT) blocks.delete(blocks.keys().next().value);
      return blocks.get(n);
    };
    const timeline = new Timeline(el, {
      content,
      state: stateOf(model),
      tile: async (lane, level, index) => {
        const { buffers: found } = await questions.ask({ kind: "tile", lane, level, index });
        return found.length ? bytes(found[0]) : null;
      },
      player: () => new Player(content.seconds, block),
      exports: header.exports,
      export: async (kind, selectionOnly) => (await questions.ask({ kind: "export", what: kind, selection: selectionOnly })).text,
    });
    return () => {
      model.off("msg:custom", questions.answer);
      timeline.dispose();
    };
  },
};
