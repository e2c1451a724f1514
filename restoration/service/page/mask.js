// A brush over a picture: what is painted is to be filled, or with colours, is to be there. Strokes are kept, so that
// each can be undone.

const TINT = [220, 40, 60];

export class MaskEditor {
  // root holds the parts by data-tool; colour tells what is painted with, where that is not a mask
  constructor(root, changed, colour = null) {
    const tool = (name) => root.querySelector(`[data-tool="${name}"]`);
    this.canvas = tool("canvas");
    this.stage = tool("stage");
    this.tools = tool("tools");
    this.help = tool("help");
    this.changed = changed;
    this.colour = colour;
    this.mask = document.createElement("canvas");
    this.strokes = [];
    this.stroke = null;
    this.zoom = 1;
    this.erasing = false;
    this.cursor = null;
    this.enabled = false;
    this.brush = tool("brush");
    this.eraser = tool("eraser");
    const on = (name, act) => tool(name).addEventListener("click", act);
    on("brush", () => this.#erase(false));
    on("eraser", () => this.#erase(true));
    on("undo", () => this.undo());
    on("clear", () => { this.strokes = []; this.#redraw(); });
    on("zoom-in", () => this.#zoomTo(this.zoom * 1.5));
    on("zoom-out", () => this.#zoomTo(this.zoom / 1.5));
    this.size = tool("size");
    tool("file")?.addEventListener("change", (event) => this.#fromFile(event.target));
    this.canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.#go(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => { this.stroke = null; });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("focus", () => { // by keyboard: where is the brush?
      if (!this.enabled || !this.canvas.matches(":focus-visible")) return;
      this.cursor ??= [this.canvas.width / 2, this.canvas.height / 2];
      this.#redraw();
    });
    this.canvas.addEventListener("blur", () => { this.cursor = null; if (this.bitmap) this.#redraw(); });
    this.stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.#zoomTo(this.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2));
    }, { passive: false });
  }

  show(bitmap, strokes = []) {
    this.bitmap = bitmap;
    this.strokes = strokes;
    this.canvas.width = this.mask.width = bitmap.width;
    this.canvas.height = this.mask.height = bitmap.height;
    this.size.max = Math.max(Math.round(Math.max(bitmap.width, bitmap.height) / 4), 4);
    this.size.value = Math.max(Math.round(Math.max(bitmap.width, bitmap.height) / 20), 2);
    this.#zoomTo(1);
    this.#redraw();
  }

  enable(yes) {
    this.enabled = yes;
    this.tools.hidden = this.help.hidden = !yes;
    this.canvas.classList.toggle("paints", yes);
    if (this.bitmap) this.#redraw();
  }

  get empty() { return this.strokes.length === 0; }

  undo() {
    this.strokes.pop();
    this.#redraw();
  }

  // what was painted, white on black, as a PNG
  async blob() {
    const flat = new OffscreenCanvas(this.mask.width, this.mask.height);
    const context = flat.getContext("2d");
    context.fillStyle = "black";
    context.fillRect(0, 0, flat.width, flat.height);
    context.drawImage(this.mask, 0, 0);
    return flat.convertToBlob({ type: "image/png" });
  }

  // what was painted, its colours on a transparent ground, as a PNG
  async painted() {
    const alone = new OffscreenCanvas(this.mask.width, this.mask.height);
    alone.getContext("2d").drawImage(this.mask, 0, 0);
    return alone.convertToBlob({ type: "image/png" });
  }

  // the picture with what was painted over it, as a PNG
  async whole() {
    const both = new OffscreenCanvas(this.mask.width, this.mask.height);
    const context = both.getContext("2d");
    context.drawImage(this.bitmap, 0, 0);
    context.drawImage(this.mask, 0, 0);
    return both.convertToBlob({ type: "image/png" });
  }

  #erase(yes) {
    this.erasing = yes;
    this.brush.setAttribute("aria-pressed", String(!yes));
    this.eraser.setAttribute("aria-pressed", String(yes));
  }

  #zoomTo(zoom) {
    this.zoom = Math.min(Math.max(zoom, 1), 16);
    this.canvas.style.width = `${100 * this.zoom}%`;
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.canvas.width / box.width,
            (event.clientY - box.top) * this.canvas.height / box.height];
  }

  #begin(event) {
    if (!this.enabled || event.button > 0) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.stroke = this.#newStroke(this.#at(event));
    this.#redraw();
  }

  #newStroke(point) {
    const stroke = { points: [point], size: Number(this.size.value), erases: this.erasing, colour: this.colour?.() ?? "white" };
    this.strokes.push(stroke);
    return stroke;
  }

  #go(event) {
    if (!this.stroke) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) this.stroke.points.push(this.#at(each));
    this.#redraw();
  }

  #key(event) {
    if (!this.enabled) return;
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.undo();
      return;
    }
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    const { width, height } = this.canvas;
    this.cursor ??= [width / 2, height / 2];
    if (step) {
      const far = Math.max(Number(this.size.value) / 2, 1);
      this.cursor = [Math.min(Math.max(this.cursor[0] + far * step[0], 0), width),
                     Math.min(Math.max(this.cursor[1] + far * step[1], 0), height)];
    } else {
      this.#newStroke([...this.cursor]);
    }
    this.#redraw();
  }

  async #fromFile(input) {
    const file = input.files[0];
    input.value = "";
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      this.strokes = [{ bitmap }];
      this.#redraw();
    } catch {
      this.help.textContent = `${file.name} cannot be shown by this browser: save the mask as PNG.`;
    }
  }

  // a mask that is known already, e.g. an example's
  take(bitmap) {
    this.strokes = [{ bitmap }];
    this.#redraw();
  }

  #redraw() {
    const mask = this.mask.getContext("2d");
    mask.clearRect(0, 0, this.mask.width, this.mask.height);
    for (const stroke of this.strokes) {
      if (stroke.bitmap) {
        whiteOf(mask, stroke.bitmap, this.mask.width, this.mask.height);
        continue;
      }
      mask.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
      mask.strokeStyle = mask.fillStyle = stroke.colour;
      mask.lineWidth = stroke.size;
      mask.lineCap = mask.lineJoin = "round";
      mask.beginPath();
      mask.moveTo(...stroke.points[0]);
      for (const point of stroke.points) mask.lineTo(...point);
      mask.stroke();
      if (stroke.points.length === 1) {
        mask.beginPath();
        mask.arc(...stroke.points[0], stroke.size / 2, 0, 2 * Math.PI);
        mask.fill();
      }
    }
    mask.globalCompositeOperation = "source-over";
    const shown = this.canvas.getContext("2d");
    shown.clearRect(0, 0, this.canvas.width, this.canvas.height);
    shown.drawImage(this.bitmap, 0, 0);
    if (this.enabled) {
      const tint = new OffscreenCanvas(this.mask.width, this.mask.height);
      const over = tint.getContext("2d");
      over.drawImage(this.mask, 0, 0);
      if (!this.colour) {
        over.globalCompositeOperation = "source-in";
        over.fillStyle = `rgb(${TINT.join(" ")} / 0.6)`;
        over.fillRect(0, 0, tint.width, tint.height);
      }
      shown.drawImage(tint, 0, 0);
      if (this.cursor) {
        shown.beginPath();
        shown.arc(...this.cursor, Number(this.size.value) / 2, 0, 2 * Math.PI);
        shown.strokeStyle = "white";
        shown.lineWidth = Math.max(this.canvas.width / 300, 0.5);
        shown.stroke();
      }
    }
    this.changed();
  }
}

// the white of a picture as opaque white, its black as nothing
function whiteOf(context, bitmap, width, height) {
  const own = new OffscreenCanvas(width, height);
  const drawn = own.getContext("2d");
  drawn.drawImage(bitmap, 0, 0, width, height);
  const data = drawn.getImageData(0, 0, width, height);
  for (let i = 0; i < data.data.length; i += 4) {
    const white = (data.data[i] + data.data[i + 1] + data.data[i + 2]) / 3;
    data.data[i + 3] = white * data.data[i + 3] / 255;
    data.data.fill(255, i, i + 3);
  }
  drawn.putImageData(data, 0, 0);
  context.drawImage(own, 0, 0);
}
