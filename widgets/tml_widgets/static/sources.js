// Where the browser's sound and pictures come from. A source has open() -> MediaStream and close().

// The stream of an ipywebrtc widget (a CameraStream by default; a video or audio file works too).
// CameraStream asks once and keeps its first answer for ever, also a refusal or a stream that was stopped. So when
// its stream is of no use any more, the browser is asked directly, with the same constraints.
const PICTURE = { width: { ideal: 320 }, height: { ideal: 240 }, frameRate: { ideal: 15 } };

export class WidgetStreamSource {
  constructor(model) {
    this.model = model;
    this.used = false;
    this.note = ""; // what else the person should know
  }

  // Rejects with the browser's DOMException when there is no sound to be had; pictures are not worth failing for.
  async open(camera) {
    this.note = "";
    const widget = await this.widget();
    const constraints = widget?.get("constraints") ?? { audio: true, video: true };
    const video = camera && (constraints.video || PICTURE);
    const fresh = widget && !this.used && Boolean(constraints.video) === camera;
    this.used = true;
    try {
      this.stream = await (fresh ? widget.stream : navigator.mediaDevices.getUserMedia({ ...constraints, video }));
    } catch (error) {
      if (!camera) throw error;
      this.stream = await navigator.mediaDevices.getUserMedia({ ...constraints, video: false });
      this.note = "The camera is missing or was refused, so the model listens without seeing.";
    }
    return this.stream;
  }

  // Pictures for a stream that was opened without: resolves to a stream of its own.
  async addCamera() {
    const pictures = await navigator.mediaDevices.getUserMedia({ video: PICTURE });
    for (const track of pictures.getVideoTracks()) this.stream?.addTrack(track); // close() then stops it too
    return pictures;
  }

  async widget() {
    const reference = this.model.get("stream");
    return reference ? this.model.widget_manager.get_model(reference.replace("IPY_MODEL_", "")) : null;
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }
}
