// Pictures from a video track: 160x120 RGB, the middle of the picture in 4:3.

export const WIDTH = 160;
export const HEIGHT = 120;

export class Camera {
  constructor(stream) {
    this.video = document.createElement("video");
    this.video.muted = this.video.playsInline = true;
    this.video.srcObject = stream;
    this.video.play().catch(() => {}); // a stream without pictures never plays; grab() then gives null
    this.canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    this.brush = this.canvas.getContext("2d", { willReadFrequently: true });
  }

  // Uint8Array [120 * 160 * 3], or null while there is no picture.
  grab() {
    const { videoWidth: w, videoHeight: h } = this.video;
    if (!w || this.video.readyState < 2) return null;
    const scale = Math.min(w / WIDTH, h / HEIGHT);
    const [cutW, cutH] = [WIDTH * scale, HEIGHT * scale];
    this.brush.drawImage(this.video, (w - cutW) / 2, (h - cutH) / 2, cutW, cutH, 0, 0, WIDTH, HEIGHT);
    const rgba = this.brush.getImageData(0, 0, WIDTH, HEIGHT).data;
    const rgb = new Uint8Array(WIDTH * HEIGHT * 3);
    for (let i = 0, j = 0; j < rgb.length; i += 4) {
      rgb[j++] = rgba[i];
      rgb[j++] = rgba[i + 1];
      rgb[j++] = rgba[i + 2];
    }
    return rgb;
  }

  close() {
    this.video.srcObject = null;
  }
}

// RGB bytes -> a small canvas for the strip.
export function thumbnail(rgb, width = WIDTH, height = HEIGHT) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const brush = canvas.getContext("2d");
  const image = brush.createImageData(width, height);
  for (let i = 0, j = 0; j < rgb.length; i += 4) {
    image.data[i] = rgb[j++];
    image.data[i + 1] = rgb[j++];
    image.data[i + 2] = rgb[j++];
    image.data[i + 3] = 255;
  }
  brush.putImageData(image, 0, 0);
  return canvas;
}
