// Playing: from the cursor, or the selection; the cursor goes with the sound.

export class Listening {
  // player: a Player or LinkedSound, or null where there is no sound.
  constructor(timeline, player, bar) {
    Object.assign(this, { timeline, player, bar });
    if (player) player.stopped = () => this.ended();
    else for (const name of ["play", "loop", "slow", "listen"]) bar.of(name).disabled = true;
  }

  get playing() {
    return Boolean(this.player?.playing);
  }

  toggle() {
    if (!this.player) return;
    const { at, axis, selection } = this.timeline;
    if (this.playing) this.player.stop();
    else if (selection) this.play(...selection);
    else this.play(at >= axis.seconds - 0.05 ? 0 : at);
  }

  play(from, until = this.timeline.axis.seconds) {
    this.player.play(from, until);
    this.bar.playing(true);
    this.timeline.readout.setAttribute("aria-live", "off"); // else a screen reader would talk over it
    this.follow();
  }

  follow() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      const at = this.player.now();
      if (!this.playing) return;
      if (at !== null) this.timeline.moveTo(at);
      this.follow();
    });
  }

  // The cursor was put elsewhere.
  seek(t) {
    if (this.playing) this.play(t);
  }

  ended() {
    cancelAnimationFrame(this.frame);
    this.bar.playing(false);
    this.timeline.readout.setAttribute("aria-live", "polite");
    this.timeline.tell(true);
  }

  loop() {
    if (!this.player) return;
    this.player.loop = !this.player.loop;
    this.bar.press("loop", this.player.loop);
  }

  async slow() {
    if (!this.player) return;
    const slow = this.player.speed === 1;
    this.bar.press("slow", slow);
    const was = this.playing;
    await this.player.pace(slow ? 0.5 : 1);
    if (!was || !this.playing) return;
    this.bar.playing(true);
    this.follow();
  }

  close() {
    this.player?.close();
  }
}
