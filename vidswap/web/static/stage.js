// The picture: before and after with a slider between, what lies over it, and its enlargement.

const $ = (id) => document.getElementById(id);
const LAYERS = ["mask", "boundary map", "reference", "occlusion", "landmarks"];
const FAINTEST = 50; // opacity, of 255, of the least change

export class Stage {
  constructor() {
    this.size = { width: 1, height: 1 };
    this.zoom = "fit";
    this.boxes = [];
    this.afterPixels = null; // of the frame shown, to tell what a setting changed
    this._split = 50;
    $("split").addEventListener("input", () => this.split(Number($("split").value)));
    for (const radio of document.querySelectorAll("[name=zoom]")) {
      radio.addEventListener("change", () => this.setZoom(radio.value));
    }
    $("to-face").addEventListener("click", () => this.goToFace());
    this._dragDivider();
    new ResizeObserver(() => this.fit()).observe($("viewport"));
  }

  open(width, height) {
    this.size = { width, height };
    $("empty").hidden = true;
    for (const id of ["viewport", "tools"]) $(id).hidden = false;
    $("viewport").style.aspectRatio = `${width} / ${height}`;
    this.clearAfter();
    this.setZoom("fit");
    document.querySelector("[name=zoom][value=fit]").checked = true;
  }

  setZoom(zoom) {
    const view = $("viewport");
    const before = this.scale();
    const centre = [
      (view.scrollLeft + view.clientWidth / 2) / (before * this.size.width),
      (view.scrollTop + view.clientHeight / 2) / (before * this.size.height),
    ];
    this.zoom = zoom;
    this.fit();
    const after = this.scale();
    view.scrollLeft = centre[0] * after * this.size.width - view.clientWidth / 2;
    view.scrollTop = centre[1] * after * this.size.height - view.clientHeight / 2;
  }

  // CSS pixels for each pixel of the picture; 1:1 is a pixel of the picture for one of the screen.
  scale() {
    const view = $("viewport");
    if (this.zoom !== "fit") return Number(this.zoom) / devicePixelRatio;
    return Math.min(view.clientWidth / this.size.width, view.clientHeight / this.size.height) || 1;
  }

  fit() {
    const canvas = $("canvas");
    const scale = this.scale();
    canvas.style.width = `${this.size.width * scale}px`;
    canvas.style.height = `${this.size.height * scale}px`;
    canvas.classList.toggle("sharp", scale * devicePixelRatio >= 1 && this.zoom !== "fit");
  }

  goToFace() {
    const [box] = this.boxes;
    if (!box) return;
    const view = $("viewport");
    if (this.zoom === "fit") {
      this.setZoom("1");
      document.querySelector("[name=zoom][value='1']").checked = true;
    }
    const scale = this.scale();
    view.scrollLeft = ((box[0] + box[2]) / 2) * scale - view.clientWidth / 2;
    view.scrollTop = ((box[1] + box[3]) / 2) * scale - view.clientHeight / 2;
  }

  split(percent) {
    this._split = percent;
    $("split").value = percent;
    $("after").style.clipPath = `inset(0 0 0 ${percent}%)`;
    $("divider").style.left = `${percent}%`;
  }

  _dragDivider() {
    const divider = $("divider");
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    divider.addEventListener("pointermove", (event) => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const box = $("canvas").getBoundingClientRect();
      const part = (event.clientX - box.left) / box.width;
      this.split(Math.round(Math.min(1, Math.max(0, part)) * 1000) / 10);
    });
  }

  async showBefore(address) {
    await show($("before"), address);
  }

  // The frame after the swap. keep: whether it is the frame shown before, under another setting;
  // then answers what changed: pixels, their mean and largest change in grey levels.
  async showAfter(address, boxes, keep) {
    this.boxes = boxes;
    await show($("after"), address);
    for (const id of ["after", "divider", "side-before", "side-after"]) $(id).hidden = false;
    this.split(this._split);
    const pixels = pixelsOf($("after"));
    const last = this.afterPixels;
    this.afterPixels = pixels;
    if (!keep || !last || last.width !== pixels.width || last.height !== pixels.height) {
      this.change = null;
      $("layer-change").hidden = true;
      return null;
    }
    return this._drawChange(last, pixels);
  }

  clearAfter() {
    this.afterPixels = null;
    for (const id of ["after", "divider", "side-before", "side-after"]) $(id).hidden = true;
    for (const layer of document.querySelectorAll(".layer")) layer.hidden = true;
  }

  _drawChange(last, pixels) {
    const canvas = $("layer-change");
    canvas.width = pixels.width;
    canvas.height = pixels.height;
    const heat = new ImageData(pixels.width, pixels.height);
    let count = 0, sum = 0, most = 0;
    const differences = new Uint8Array(pixels.data.length / 4);
    for (let i = 0; i < pixels.data.length; i += 4) {
      let difference = 0;
      for (let c = 0; c < 3; c++) {
        difference = Math.max(difference, Math.abs(pixels.data[i + c] - last.data[i + c]));
      }
      if (difference === 0) continue;
      count += 1;
      sum += difference;
      most = Math.max(most, difference);
      differences[i / 4] = difference;
    }
    differences.forEach((difference, n) => {
      if (difference === 0) return;
      heat.data.set([255, 224, 0, FAINTEST + ((255 - FAINTEST) * difference) / most], 4 * n);
    });
    canvas.getContext("2d").putImageData(heat, 0, 0);
    canvas.hidden = !this.wanted().includes("change");
    this.change = { count, mean: count ? sum / count : 0, most };
    return this.change;
  }

  // Names of what is to lie over the picture.
  wanted() {
    const boxes = document.querySelectorAll("#layers input[value]:checked");
    return [...boxes].map((box) => box.value).filter((name) => name !== "on");
  }

  async showLayers(addressOf) {
    const wanted = this.wanted();
    $("layer-change").hidden = !(wanted.includes("change") && this.change);
    await Promise.all(
      LAYERS.map(async (name) => {
        const image = $(`layer-${name.replace(" ", "-")}`);
        const address = wanted.includes(name) ? addressOf(name) : null;
        if (address) await show(image, address);
        image.hidden = !address;
      }),
    );
  }
}

// Decode a picture before it takes the place of the last one: nothing flickers.
async function show(image, address) {
  const next = new Image();
  next.src = address;
  await next.decode();
  image.src = address;
  await image.decode().catch(() => {});
}

function pixelsOf(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
