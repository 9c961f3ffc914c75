// Events of all machines, the newest first.
import { get, query } from "./api.js";
import * as csv from "./csv.js";
import { h, replace, throttled } from "./dom.js";
import * as format from "./format.js";
import { failed } from "./notice.js";
import { chip } from "./status.js";
import { t } from "./strings.js";

const AT_ONCE = 100;
export const EVENT_COLUMNS = ["machine", "kind", "opened", "closed", "peak", "threshold", "windows", "file", "nearest", "acknowledged", "acknowledged_by", "opinion", "note", "id"];
export const eventValues = (it) => ({ ...it, opened: csv.iso(it.opened), closed: csv.iso(it.closed), acknowledged: csv.iso(it.acknowledged) });

export function eventRow(it, { chosen = false, choose, href, named = false } = {}) {
  const state = it.closed ? "idle" : "odd", title = it.kind === "no_sound" ? t("events.silence") : it.closed ? t("events.closed") : t("events.open");
  const inside = [
    h("span", { class: `chip ${state}` }, title),
    named && h("b", {}, it.machine),
    h("span", {}, format.time(it.opened)),
    h("span", { class: "more" }, [it.closed && format.duration(it.closed - it.opened), it.peak !== null && t("events.peak", { peak: format.score(it.peak) })].filter(Boolean).join(" · ")),
    h("span", { class: "marks" }, it.acknowledged && h("span", { class: "flag" }, t("event.acknowledged")), it.muted && h("span", { class: "flag" }, t("event.muted")), it.opinion && h("span", { class: `flag ${it.opinion}` }, t(`opinion.${it.opinion}`))),
  ];
  return h("li", {}, href ? h("a", { class: "row", href, "data-key": it.id }, inside) : h("button", { class: "row", "aria-pressed": String(chosen), "data-key": it.id, onclick: choose }, inside));
}

export function eventsView() {
  let events = [], stillOpen = false, more = false;
  const list = h("ul", { class: "events" });
  const older = h("button", { hidden: true, onclick: () => load(events.at(-1)?.opened) }, t("events.older"));
  const box = h("input", { type: "checkbox", onchange: () => { stillOpen = box.checked; load(); } });
  const tools = h("div", { class: "tools" }, h("label", { class: "check" }, box, t("events.onlyopen")), h("button", { onclick: save }, t("csv")));
  const element = h("div", { class: "view" }, h("div", { class: "top" }, h("h1", {}, t("events.title")), tools), h("section", { class: "card" }, list, older));

  async function load(before) {
    try {
      const told = await get(`api/events?${query({ limit: AT_ONCE, still_open: stillOpen, ...(before ? { before } : {}) })}`);
      events = before ? [...events, ...told] : told;
      more = told.length === AT_ONCE;
      draw();
    } catch (error) { failed(error); }
  }
  function draw() {
    older.hidden = !more;
    replace(list, events.length ? events.map((it) => eventRow(it, { named: true, href: `#/machines/${encodeURIComponent(it.machine)}/${it.id}` })) : h("li", { class: "empty" }, t("events.none")));
  }
  function save() { csv.download("events.csv", EVENT_COLUMNS, events.map(eventValues)); }
  const soon = throttled(() => { if (events.length <= AT_ONCE) load(); }, 1000);
  load();
  return { element, title: t("events.title"), close: () => soon.cancel(), heard: (message) => { if (message.kind !== "score") soon(); } };
}
