// The audio graph: microphone -> capture worklet, and two players (the model's voice, a recording that is played).

import RESAMPLER from "./worklets/resampler.js?raw";
import CAPTURE from "./worklets/capture.js?raw";
import PLAYER from "./worklets/player.js?raw";
import { LEAST, MOST } from "./lead.js";

export const RATE = 16000;
export const TURN_SAMPLES = 3200;
export const TURN_SECONDS = TURN_SAMPLES / RATE;

export class AudioGraph {
  // Must first be called from a click: browsers keep an AudioContext silent until then.
  async open() {
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      const address = URL.createObjectURL(
        new Blob([RESAMPLER, CAPTURE, PLAYER].map((code) => `{${code}}\n`), { type: "text/javascript" }),
      );
      await this.context.audioWorklet.addModule(address);
      URL.revokeObjectURL(address);
      this.voice = this.player();
      this.recording = this.player();
    }
    await this.context.resume();
  }

  player() {
    const node = new AudioWorkletNode(this.context, "tml-player", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { rate: RATE, lead: LEAST, longestLead: MOST, turnSeconds: TURN_SECONDS },
    });
    node.connect(this.context.destination);
    const player = {
      stats: { underruns: 0, longest: 0, played: 0, buffered: 0 },
      play: (turn, samples) => node.port.postMessage({ turn, samples }),
      wait: (lead) => node.port.postMessage({ lead }), // seconds, from the next thing that is said
      end: () => node.port.postMessage({ end: true }),
      flush: () => node.port.postMessage({ flush: true }),
    };
    node.port.onmessage = ({ data }) => {
      Object.assign(player.stats, data);
      player.onbeat?.(); // once a turn, also in a hidden tab
    };
    return player;
  }

  // Calls onHalfTurn(Float32Array of 1600 samples) ten times a second until release().
  capture(stream, onHalfTurn) {
    this.input = this.context.createMediaStreamSource(stream);
    this.tap = new AudioWorkletNode(this.context, "tml-capture", {
      numberOfOutputs: 1,
      processorOptions: { rate: RATE, turnSamples: TURN_SAMPLES },
    });
    this.tap.port.onmessage = ({ data }) => onHalfTurn(data);
    this.input.connect(this.tap);
    this.tap.connect(this.context.destination); // silent; but a node must lead somewhere to run
  }

  release() {
    if (this.tap) this.tap.port.onmessage = null;
    this.input?.disconnect();
    this.tap?.disconnect();
    this.input = this.tap = null;
  }

  close() {
    this.release();
    this.context?.close();
    this.context = null;
  }
}

export const fromPcm = (view) => {
  const pcm = new Int16Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  return Float32Array.from(pcm, (sample) => sample / 32768);
};

export const toPcm = (samples) =>
  Int16Array.from(samples, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
