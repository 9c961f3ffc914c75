// A spectrogram that is heard: a picture with axes, frames around what is odd, a line where the sound plays.
import { h, svg } from "./dom.js";
import * as format from "./format.js";
import { t } from "./strings.js";

const STOPS = ["000004", "140e36", "3b0f70", "641a80", "8c2981", "b73779", "de4968", "f7705c", "fe9f6d", "fecf92", "fcfdbf"];
const TICKS = [200, 500, 1000, 2000, 4000, 8000];

const channels = (stop) => [0, 2, 4].map((i) => parseInt(stop.slice(i, i + 2), 16));
const COLOURS = Array.from({ length: 256 }, (_, i) => {
  const at = (i / 255) * (STOPS.length - 1), k = Math.min(Math.floor(at), STOPS.length - 2);
  const [a, b] = [channels(STOPS[k]), channels(STOPS[k + 1])];
  return a.map((value, c) => value + (b[c] - value) * (at - k));
});

// part: { columns, bins, seconds, pixels }; edges: low and high edge of each bin, Hz; marks: odd regions
export function spectrogram(part, edges, marks, title) {
  const canvas = h("canvas", { width: part.columns, height: part.bins });
  paint(canvas, part);
  const height = (hz) => { // share of the height, from below; bins are of equal height
    const i = edges.high.findIndex((edge) => edge > hz);
    if (i < 0) return 1;
    return (i + Math.max(0, Math.min(1, (hz - edges.low[i]) / (edges.high[i] - edges.low[i])))) / part.bins;
  };
  const percent = (share) => `${(100 * share).toFixed(2)}%`;
  const over = svg("svg", { class: "over", "aria-hidden": "true", width: "100%", height: "100%" });
  marks.forEach((mark, i) => {
    const bottom = height(mark.low_hz), top = height(mark.high_hz), place = { x: percent(mark.start / part.seconds), y: percent(1 - top), width: percent((mark.end - mark.start) / part.seconds), height: percent(Math.max(top - bottom, 0.01)) };
    over.append(svg("rect", { ...place, class: "halo" }), svg("rect", { ...place, class: "mark" }, svg("title", {}, `${format.hertz(mark.low_hz)} – ${format.hertz(mark.high_hz)}, ${mark.excess_db.toFixed(0)} dB`)));
    over.append(svg("text", { x: place.x, y: percent(1 - top), dx: 5, dy: 15, class: "number" }, String(i + 1)));
  });
  const playhead = h("i", { class: "playhead", hidden: true });
  const picture = h("div", { class: "picture", role: "img", "aria-label": t("spectrogram.label", { title }) }, canvas, over, playhead);
  const scale = h("div", { class: "hertz", "aria-hidden": "true" }, TICKS.filter((hz) => hz <= edges.high.at(-1) + 1).map((hz) => at(h("span", {}, format.hertz(hz)), "bottom", height(hz))));
  const step = part.seconds <= 6 ? 1 : part.seconds <= 15 ? 2 : Math.ceil(part.seconds / 6);
  const clock = h("div", { class: "seconds", "aria-hidden": "true" }, Array.from({ length: Math.floor(part.seconds / step + 1e-6) + 1 }, (_, i) => at(h("span", {}, `${i * step} s`), "left", (i * step) / part.seconds)));
  return { element: h("div", { class: "spectrogram" }, scale, picture, clock), picture, playhead };
}

function at(element, side, share) {
  element.style[side] = `${(100 * share).toFixed(2)}%`;
  return element;
}

function paint(canvas, { columns, bins, pixels }) {
  const bytes = Uint8Array.from(atob(pixels), (sign) => sign.charCodeAt(0));
  const context = canvas.getContext("2d"), image = context.createImageData(columns, bins);
  for (let x = 0; x < columns; x++) for (let y = 0; y < bins; y++) {
    const [r, g, b] = COLOURS[bytes[x * bins + y]], i = 4 * ((bins - 1 - y) * columns + x);
    image.data[i] = r; image.data[i + 1] = g; image.data[i + 2] = b; image.data[i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

let playing = null; // one sound at a time, on the whole page

// A button that plays a sound, fetched when it is wanted; with a spectrogram, a line goes along, and a click goes there.
export function player(load, label, { id, shown } = {}) {
  const audio = h("audio", { id, preload: "none" });
  const button = h("button", { class: "play", "aria-pressed": "false", onclick: () => toggle() }, h("span", { class: "glyph", "aria-hidden": "true" }), h("span", {}, label));
  let ready = null, frame = 0;
  const fetched = () => (ready ??= load().then((sound) => { audio.src = URL.createObjectURL(sound); }).catch((error) => { ready = null; throw error; }));

  async function toggle(from) {
    if (!audio.paused && from === undefined) { audio.pause(); return; }
    await fetched();
    if (playing && playing !== audio) playing.pause();
    if (from !== undefined) audio.currentTime = from * (Number.isFinite(audio.duration) ? audio.duration : 0);
    playing = audio;
    await audio.play();
  }
  const follow = () => {
    if (shown) { shown.playhead.hidden = false; shown.playhead.style.left = `${(100 * audio.currentTime) / (audio.duration || 1)}%`; }
    if (!audio.paused) frame = requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => { button.setAttribute("aria-pressed", "true"); follow(); });
  for (const name of ["pause", "ended"]) audio.addEventListener(name, () => { button.setAttribute("aria-pressed", "false"); cancelAnimationFrame(frame); });
  shown?.picture.addEventListener("click", (event) => {
    const box = shown.picture.getBoundingClientRect();
    toggle((event.clientX - box.left) / box.width).catch(() => {});
  });
  const close = () => { audio.pause(); if (audio.src) URL.revokeObjectURL(audio.src); };
  return { element: h("span", { class: "player" }, button, audio), close, playing: () => !audio.paused };
}
