// Score over time: a line with its range, the threshold that was in force, events as bands, changes of the bank as marks.
import { h } from "./dom.js";
import * as format from "./format.js";
import { t } from "./strings.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const HIGH = 300, LEAST = 240;

// told: { points, thresholds } of the service; events: [{ opened, closed }]; span: [since, until] in ms
export function chart(onSpan) {
  const place = h("div", { class: "plot" });
  const element = h("figure", { class: "chart", role: "img", "aria-label": t("chart.title") }, place);
  let plot = null, last = null;

  function thresholdOf(told, revision) {
    let found = null;
    for (const step of told.thresholds) if (step.revision <= revision && step.threshold !== null) found = step.threshold;
    return found ?? told.thresholds.at(-1)?.threshold ?? null;
  }

  function draw(told, events, span, threshold) {
    last = [told, events, span, threshold];
    const columns = [[], [], [], [], [], []];
    const steps = told.points.slice(1).map((point, i) => point.at - told.points[i].at).sort((a, b) => a - b);
    const gap = Math.max(4 * (steps[steps.length >> 1] ?? 0), (span[1] - span[0]) / 60); // longer than that nothing was heard
    let before = null;
    for (const point of told.points) {
      if (before !== null && point.at - before > gap) push(columns, before + 1, null);
      push(columns, point.at, point, thresholdOf(told, point.revision) ?? threshold);
      before = point.at;
    }
    const all = told.points.reduce((sum, point) => sum + point.windows, 0), ranged = all > 1.3 * told.points.length;
    const high = innerWidth < 600 ? LEAST : HIGH, wide = Math.max(place.clientWidth, 240);
    plot?.destroy();
    plot = new uPlot(options(told, events, span, ranged, wide, high), columns, place);
    const odd = told.points.reduce((sum, point) => sum + point.anomalous, 0);
    element.setAttribute("aria-label", t("chart.label", { from: format.time(span[0]), to: format.time(span[1]), windows: all, odd, threshold: format.score(threshold) }));
  }

  function push([x, high, low, mean, limit, odd], at, point, threshold = null) {
    x.push(at / 1000);
    high.push(point?.high ?? null); low.push(point?.low ?? null); mean.push(point?.mean ?? null);
    limit.push(point ? threshold : null); odd.push(point?.anomalous ? point.high : null);
  }

  function options(told, events, span, ranged, width, height) {
    const ink = colour("muted"), grid = { stroke: colour("line"), width: 1 }, font = "12px system-ui, sans-serif";
    const value = (_, v) => (v === null || v === undefined ? "–" : format.score(v));
    const line = { label: t("chart.score"), stroke: colour("source"), width: 1.6, points: { show: told.points.length < 90, size: 5 }, value };
    return {
      width, height, padding: [12, 22, 0, 0],
      cursor: { y: false, drag: { x: true, y: false, setScale: false } },
      legend: { live: true },
      scales: { x: { min: span[0] / 1000, max: span[1] / 1000 }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 1) * 1.12 || 1] } },
      axes: [
        { stroke: ink, grid, ticks: grid, font, space: 90, values: ticks },
        { stroke: ink, grid, ticks: grid, font, size: 56, values: (_, all) => all.map((v) => format.score(v)) },
      ],
      series: [
        { label: t("chart.time"), value: (_, v) => (v === null ? "–" : format.time(v * 1000)) },
        ranged ? { ...line, label: t("chart.high"), points: { show: false } } : line,
        { label: t("chart.low"), stroke: colour("source"), width: 0.5, points: { show: false }, show: ranged, class: ranged ? "kept" : "gone", value },
        { label: t("chart.mean"), stroke: colour("source"), width: 1, dash: [2, 3], points: { show: false }, show: ranged, class: ranged ? "kept" : "gone", value },
        { label: t("chart.threshold"), stroke: colour("ink"), width: 1.4, dash: [7, 4], points: { show: false }, value, paths: uPlot.paths.stepped({ align: 1 }) },
        { label: t("chart.odd"), stroke: colour("odd"), width: 0, paths: () => null, points: { show: true, size: told.points.length < 150 && width > 500 ? 7 : 4, fill: colour("odd") }, value },
      ],
      bands: ranged ? [{ series: [1, 2], fill: colour("band") }] : [],
      hooks: { drawClear: [(u) => bands(u, events)], draw: [(u) => marks(u, told)], setSelect: [(u) => zoom(u)] },
    };
  }

  function ticks(_, splits, axis, space, step) {
    const days = step >= 86_400, seconds = step < 60;
    return splits.map((v) => { const d = new Date(v * 1000); return days ? d.toLocaleDateString([], { month: "short", day: "numeric" }) : d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined }); });
  }

  function bands(u, events) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.fillStyle = colour("odd-band");
    for (const event of events) {
      const from = Math.max(left, u.valToPos(event.opened / 1000, "x", true)), to = Math.min(left + width, u.valToPos((event.closed ?? format.now()) / 1000, "x", true));
      if (to >= left && from <= left + width) u.ctx.fillRect(from, top, Math.max(to - from, 3), height);
    }
    u.ctx.restore();
  }

  function marks(u, told) {
    const { left, top, width, height } = u.bbox, ratio = devicePixelRatio || 1;
    u.ctx.save();
    u.ctx.strokeStyle = u.ctx.fillStyle = colour("both");
    u.ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    u.ctx.setLineDash([2 * ratio, 3 * ratio]);
    for (const step of told.thresholds.slice(1)) {
      const x = u.valToPos(step.at / 1000, "x", true);
      if (x < left || x > left + width) continue;
      u.ctx.beginPath(); u.ctx.moveTo(x, top); u.ctx.lineTo(x, top + height); u.ctx.stroke();
      u.ctx.fillText(String(step.revision), x + 3 * ratio, top + 11 * ratio);
    }
    u.ctx.restore();
  }

  function zoom(u) {
    if (u.select.width < 8) return;
    const ends = [u.select.left, u.select.left + u.select.width].map((x) => Math.round(1000 * u.posToVal(x, "x")));
    onSpan(ends);
  }

  const again = () => { if (last && place.clientWidth) draw(...last); };
  let wide = 0;
  const size = new ResizeObserver(() => { if (Math.abs(place.clientWidth - wide) > 2) { wide = place.clientWidth; again(); } });
  size.observe(place);
  addEventListener("themechange", again);
  return { element, draw, close: () => { size.disconnect(); removeEventListener("themechange", again); plot?.destroy(); } };
}
