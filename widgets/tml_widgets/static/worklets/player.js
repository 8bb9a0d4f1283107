// Plays turns of 16 kHz speech without gaps, on the turn clock.
//
// The first turn after a silence waits behind some silence, the lead, so that later turns may come that much late.
// Turns in which nothing was said are not sent; a turn number left out becomes silence of its length.
// The page says how long the lead is to be (lead.js); each gap within what is said makes it longer, too: better late
// than torn.
// Messages in: {turn, samples}, {end: true} (what was said is complete), {flush: true} (stop at once), {lead} (seconds).
// Messages out, after every turn's worth of playing: {underruns, longest, played, buffered}: gaps within what was said,
// the longest of them in milliseconds, and samples of the context.

registerProcessor("tml-player", class extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.lead = Math.round(processorOptions.lead * sampleRate);
    this.longestLead = Math.round(processorOptions.longestLead * sampleRate);
    this.moreLead = this.lead / 2;
    this.asked = this.lead; // by the page
    this.turnLength = processorOptions.turnSeconds * sampleRate;
    this.resampler = new globalThis.TmlResampler(processorOptions.rate, sampleRate);
    this.pieces = []; // Float32Arrays still to be played
    this.offset = 0; // how much of the first piece is played
    this.buffered = 0;
    this.open = false; // more of this utterance is to come
    this.nextTurn = 0;
    this.dry = 0; // samples of silence since it ran out in the middle of what is said
    this.underruns = this.longest = 0;
    this.played = 0;
    this.sinceReport = 0;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    if (message.lead !== undefined) {
      this.asked = Math.round(message.lead * sampleRate);
    } else if (message.flush) {
      this.pieces = [];
      this.offset = this.buffered = 0;
      this.open = false;
      this.dry = 0;
      this.resampler.reset();
    } else if (message.end) {
      if (this.open) this.push(this.resampler.flush());
      this.resampler.reset();
      this.open = false;
      this.dry = 0; // nothing more was to come: that was the end, and no gap
    } else {
      if (this.dry) this.gap();
      if (this.buffered === 0 && !this.open) this.push(new Float32Array(Math.max(this.lead, this.asked)));
      else if (message.turn > this.nextTurn) {
        this.push(new Float32Array(Math.round((message.turn - this.nextTurn) * this.turnLength)));
      }
      this.push(this.resampler.push(message.samples));
      this.nextTurn = message.turn + 1;
      this.open = true;
    }
  }

  // What is said goes on after it had run dry.
  gap() {
    this.underruns += 1;
    this.lead = Math.round(Math.min(this.longestLead, this.lead + this.moreLead));
    this.longest = Math.max(this.longest, (1000 * (this.dry + Math.max(this.lead, this.asked))) / sampleRate);
    this.dry = 0;
    this.open = false;
  }

  push(samples) {
    if (!samples.length) return;
    this.pieces.push(samples);
    this.buffered += samples.length;
  }

  process(_, [output]) {
    const out = output[0];
    let filled = 0;
    while (filled < out.length && this.pieces.length) {
      const piece = this.pieces[0];
      const n = Math.min(out.length - filled, piece.length - this.offset);
      out.set(piece.subarray(this.offset, this.offset + n), filled);
      filled += n;
      this.offset += n;
      if (this.offset === piece.length) {
        this.pieces.shift();
        this.offset = 0;
      }
    }
    this.buffered -= filled;
    this.played += filled;
    if (filled < out.length && this.open) this.dry += out.length - filled; // the next turn gets a new lead
    for (let c = 1; c < output.length; c++) output[c].set(out);
    this.sinceReport += out.length;
    if (this.sinceReport >= this.turnLength) {
      this.sinceReport = 0;
      this.port.postMessage({ underruns: this.underruns, longest: this.longest, played: this.played, buffered: this.buffered });
    }
    return true;
  }
});
