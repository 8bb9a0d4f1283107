// How long the first turn of what is said has to wait, so that none of those after it comes too late.
//
// Turns come one every 200 ms, some later than others. The wait is as long as the latest of the last half minute was
// late, said or silent: where nothing competes for the machine it stays at its least, beside busy cells it grows before
// a word is torn. (Network players size their jitter buffers so; here a turn's number says when it was due.)

const TURNS = 150; // half a minute
const SPARE = 0.02; // seconds: a message's way to the audio thread
export const LEAST = 0.12; // seconds: 80 ms held in every trial under load; 120 ms is that with room to spare
export const MOST = 0.3;

export class Lead {
  constructor(turnSeconds) {
    this.turnSeconds = turnSeconds;
    this.reset();
  }

  // Another session, or the same one after a pause: its turns are due at other times.
  reset() {
    this.offsets = []; // seconds between the start of turn 0 and now, less the turn's number times its length
    this.seconds = LEAST;
  }

  // A turn has come, at `now` in seconds; the lead from here on.
  came(turn, now) {
    this.offsets.push(now - turn * this.turnSeconds);
    if (this.offsets.length > TURNS) this.offsets.shift();
    const late = Math.max(...this.offsets) - Math.min(...this.offsets);
    this.seconds = Math.min(MOST, Math.max(LEAST, late + SPARE));
    return this.seconds;
  }
}
