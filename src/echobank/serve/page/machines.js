// All machines at a glance, the worst first.
import { get } from "./api.js";
import * as csv from "./csv.js";
import { h, replace, throttled } from "./dom.js";
import * as format from "./format.js";
import { failed } from "./notice.js";
import { chip, gauge, sparkline, statusOf } from "./status.js";
import { t, plural } from "./strings.js";

const ORDER = ["odd", "trouble", "fine", "paused", "idle"];
const RECENT = 40;

export function machinesView({ may }) {
  let machines = null, wanted = "", only = "";
  const list = h("ul", { class: "machines", "aria-label": t("machines.title") });
  const counts = h("div", { class: "counts", role: "group", "aria-label": t("machines.filter") });
  const search = h("input", { type: "search", placeholder: t("machines.search"), "aria-label": t("machines.search"), oninput: () => { wanted = search.value.toLowerCase(); draw(); } });
  const tools = h("div", { class: "tools" }, search, h("button", { onclick: save }, t("csv")));
  const element = h("div", { class: "view" }, h("div", { class: "top" }, h("h1", {}, t("machines.title")), tools), counts, list);

  const load = () => get("api/overview").then((told) => { format.setClock(told.now); machines = told.machines; draw(); }).catch(failed);
  const redraw = throttled(() => draw(), 500), reload = throttled(load, 2000);
  const clock = setInterval(draw, 15_000);

  function draw() {
    if (!machines) return;
    const badness = (it) => (it.last?.p_value ?? 2);
    machines.sort((a, b) => ORDER.indexOf(statusOf(a)) - ORDER.indexOf(statusOf(b)) || badness(a) - badness(b) || a.name.localeCompare(b.name));
    const tally = Object.fromEntries(ORDER.map((status) => [status, machines.filter((it) => statusOf(it) === status).length]));
    if (only && !tally[only]) only = "";
    replace(counts, ORDER.filter((status) => tally[status]).map((status) =>
      h("button", { class: `count ${status}`, "data-key": status, "aria-pressed": String(only === status), onclick: () => { only = only === status ? "" : status; draw(); } },
        h("b", {}, String(tally[status])), t(`status.${status}`))));
    const shown = machines.filter((it) => it.name.toLowerCase().includes(wanted) && (!only || statusOf(it) === only));
    search.hidden = machines.length < 8;
    replace(list, shown.length ? shown.map(line) : h("li", { class: "empty" }, machines.length ? t("machines.none") : empty()));
  }

  const empty = () => h("div", { class: "first" }, h("img", { src: "page/icon.svg", alt: "", width: 48, height: 48 }), h("p", {}, t("machines.empty")), may("admin") && h("a", { class: "button main", href: "#/add" }, t("add.title")));

  function save() {
    const columns = ["machine", "status", "score", "threshold", "p_value", "open_events", "heard", "revision"];
    csv.download("machines.csv", columns, (machines ?? []).map((it) => ({
      machine: it.name, status: t(`status.${statusOf(it)}`), score: it.last?.score, threshold: it.threshold, p_value: it.last?.p_value,
      open_events: it.open_events, heard: csv.iso(it.heard), revision: it.revision })));
  }

  load();
  return {
    element, title: t("machines.title"),
    close: () => { clearInterval(clock); redraw.cancel(); reload.cancel(); },
    heard(message) {
      const machine = machines?.find((it) => it.name === message.machine);
      if (!machine || message.kind !== "score" && message.kind !== "open" && message.kind !== "close") { reload(); return; }
      if (message.kind === "score" && message.score !== null) {
        machine.last = { ...message };
        machine.heard = Math.max(machine.heard ?? 0, Date.parse(message.file_time) || 0);
        machine.recent = [...machine.recent, message.score].slice(-RECENT);
      }
      if (message.kind === "open") { machine.open_events ||= 1; machine.open_since ??= Date.parse(message.time); }
      if (message.kind !== "score") reload(); // the same message may come twice, so nothing is counted here
      redraw();
    },
  };
}

function line(it) {
  const status = statusOf(it), odd = status === "odd";
  const trouble = it.troubles[0] ?? it.sources.find((source) => source.trouble)?.trouble;
  const said = odd ? t("machines.since", { time: format.ago(it.open_since), count: plural("events.count", it.open_events) })
    : trouble ? trouble : it.paused_until > format.now() ? t("machines.paused", { time: format.time(it.paused_until) })
    : it.last?.flags ? it.last.flags.replaceAll("+", ", ").replaceAll("_", " ") : "";
  return h("li", {}, h("a", { class: `machine ${status}`, href: `#/machines/${encodeURIComponent(it.name)}`, "data-key": `m-${it.name}` },
    chip(status),
    h("span", { class: "who" }, h("b", {}, it.name), said && h("small", {}, said)),
    sparkline(it.recent, it.threshold, odd || !!it.last?.decision),
    h("span", { class: "figures" },
      h("span", { class: "value" }, format.score(it.last?.score), h("small", {}, ` / ${format.score(it.threshold)}`)),
      gauge(it.last?.score, it.threshold, !!it.last?.decision)),
    h("span", { class: "when" }, it.heard ? format.ago(it.heard) : t("machines.never"))));
}
