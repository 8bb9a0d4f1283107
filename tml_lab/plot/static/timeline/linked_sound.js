// Plays two sound files that lie beside a page, kept together: a page opened from a disk may not read them, only play them.

export class LinkedSound {
  constructor(seconds, addresses) {
    Object.assign(this, { seconds, speed: 1, loop: false, listen: "both", stopped: () => {}, playing: false });
    this.files = addresses.map((address) => Object.assign(new Audio(address), { preload: "auto" }));
  }

  async play(from, until = this.seconds) {
    this.stop();
    Object.assign(this, { from, until, playing: true });
    for (const file of this.files) {
      file.currentTime = from;
      file.playbackRate = this.speed; // pitch is kept
    }
    this.hear(this.listen);
    try {
      await Promise.all(this.files.map((file) => file.play()));
    } catch {
      this.stop();
    }
  }

  hear(listen) {
    this.listen = listen;
    this.files.forEach((file, n) => (file.muted = listen === ["own", "heard"][n]));
  }

  now() {
    if (!this.playing) return null;
    const [heard, own] = this.files; // the own voice is the longer one
    if (!heard.ended && Math.abs(heard.currentTime - own.currentTime) > 0.08) heard.currentTime = own.currentTime;
    const at = own.ended ? heard.currentTime : own.currentTime;
    if (at < this.until - 0.01 && !this.files.every((file) => file.ended)) return at;
    if (this.loop) this.play(this.from, this.until);
    else this.stop();
    return this.until;
  }

  async pace(speed) {
    this.speed = speed;
    for (const file of this.files) file.playbackRate = speed;
  }

  stop() {
    for (const file of this.files) file.pause();
    const was = this.playing;
    this.playing = false;
    if (was) this.stopped();
  }

  close() {
    this.stop();
  }
}
