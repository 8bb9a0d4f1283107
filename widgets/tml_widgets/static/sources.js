// Where the browser's sound and pictures come from. A source has open() -> MediaStream and close().

// The stream of an ipywebrtc widget (a CameraStream by default; a video or audio file works too).
// CameraStream asks once and keeps its first answer for ever, also a refusal or a stream that was stopped. So when
// its stream is of no use any more, the browser is asked directly, with the same constraints.
export class WidgetStreamSource {
  constructor(model) {
    this.model = model;
    this.used = false;
    this.note = "";
  }

  async open(camera) {
    this.note = "";
    const reference = this.model.get("stream");
    if (!reference) return this.ask({ audio: true, video: camera });
    const widget = await this.model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""));
    const constraints = widget.get("constraints");
    const asWidgetAsks = !constraints || Boolean(constraints.video) === camera;
    if (!this.used && asWidgetAsks) {
      this.used = true;
      try {
        return (this.stream = await widget.stream);
      } catch (error) {
        if (!constraints || error.name !== "NotFoundError") throw error;
      }
    }
    return this.ask({ ...constraints, video: camera && (constraints?.video || true) });
  }

  async ask(constraints) {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia(constraints);
    } catch (error) {
      if (!constraints.video || error.name === "NotAllowedError") throw error;
      this.stream = await navigator.mediaDevices.getUserMedia({ ...constraints, video: false });
      this.note = "There is no camera, so the model listens without seeing.";
    }
    return this.stream;
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }
}
