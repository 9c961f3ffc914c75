// What a machine does at this moment: one word, one shape, one colour.
import { h, svg } from "./dom.js";
import * as format from "./format.js";
import { t } from "./strings.js";

const SHAPES = {
  odd: "M8 1 15.5 14.5H.5Z",
  fine: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1",
  paused: "M3 2h3.5v12H3zM9.5 2H13v12H9.5z",
  trouble: "M8 .5 15.5 8 8 15.5.5 8Z",
  idle: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11m0 2a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7",
};

export function statusOf(machine) {
  if (machine.open_events) return "odd";
  if (machine.troubles?.length) return "trouble";
  if ((machine.paused_until ?? 0) > format.now()) return "paused";
  return machine.last ? "fine" : "idle";
}

export const shape = (status) => svg("svg", { viewBox: "0 0 16 16", class: "shape", "aria-hidden": "true" }, svg("path", { d: SHAPES[status] }));
export const chip = (status) => h("span", { class: `chip ${status}` }, shape(status), t(`status.${status}`));

// A bar whose middle is the threshold.
export function gauge(score, threshold, odd) {
  if (score === null || score === undefined || !(threshold > 0)) return h("span", { class: "gauge empty" });
  const share = Math.min(1, Math.max(0, score / threshold / 2)), bar = h("i");
  bar.style.width = `${100 * share}%`;
  return h("span", { class: `gauge ${odd ? "odd" : "fine"}`, "aria-hidden": "true" }, bar, h("b"));
}

export function sparkline(scores, threshold, odd) {
  const wide = 120, high = 30;
  const box = svg("svg", { viewBox: `0 0 ${wide} ${high}`, class: `spark ${odd ? "odd" : "fine"}`, "aria-hidden": "true", preserveAspectRatio: "none" });
  if (scores.length < 2) return box;
  const top = Math.max((threshold || 0) * 1.25, ...scores) || 1, low = Math.min(0, ...scores);
  const x = (i) => (i / (scores.length - 1)) * (wide - 4) + 2, y = (v) => high - 2 - ((v - low) / (top - low)) * (high - 4);
  if (threshold > 0) box.append(svg("line", { x1: 0, x2: wide, y1: y(threshold), y2: y(threshold), class: "threshold" }));
  box.append(svg("polyline", { points: scores.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" ") }));
  return box;
}
