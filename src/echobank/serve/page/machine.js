// One machine: what it does now, its scores over time, its events, and what was changed when.
import { get, machinePath, post, query } from "./api.js";
import { chart } from "./chart.js";
import { checkupCard } from "./checkup.js";
import * as csv from "./csv.js";
import { askUser } from "./dialog.js";
import { h, replace, throttled } from "./dom.js";
import { eventPanel } from "./event.js";
import { eventRow, EVENT_COLUMNS, eventValues } from "./events.js";
import * as format from "./format.js";
import { failed, toast } from "./notice.js";
import { chip, statusOf } from "./status.js";
import { t, plural } from "./strings.js";

const HOUR = 3_600_000;
const SPANS = [["10min", HOUR / 6], ["hour", HOUR], ["shift", 8 * HOUR], ["days", 48 * HOUR], ["month", 30 * 24 * HOUR], ["year", 365 * 24 * HOUR]];
const PAUSES = [["900", "pause.quarter"], ["3600", "pause.hour"], ["28800", "pause.shift"], ["86400", "pause.day"]];

export function machineView(name, wanted, context) {
  const { may } = context, address = machinePath(name);
  let machine = null, events = [], course = null, length = HOUR, fixed = null, panel = null, shownEvent = "";
  const head = h("div", { class: "top" }), boxes = h("div"), tiles = h("dl", { class: "tiles" }), spans = h("div", { class: "spans", role: "group", "aria-label": t("chart.span") });
  const eventList = h("ul", { class: "events" }), eventPlace = h("div", { class: "panel" }), story = h("ol", { class: "story" });
  const pane = h("div", { class: "pane alone" }, h("section", { class: "card", "aria-label": t("events.title") }, h("div", { class: "top" }, h("h2", {}, t("events.title")), h("button", { onclick: saveEvents }, t("csv"))), eventList), eventPlace);
  const plot = chart((ends) => { fixed = ends; loadCourse(); });
  const element = h("div", { class: "view" }, h("p", { class: "back" }, h("a", { href: "#/" }, t("machine.all"))), head, boxes, tiles,
    h("section", { class: "card", "aria-label": t("chart.title") }, h("div", { class: "top" }, h("h2", {}, t("chart.title")), h("div", { class: "tools" }, spans, h("button", { onclick: saveScores }, t("csv")))), plot.element),
    pane, checkupCard(address),
    h("section", { class: "card", "aria-label": t("story.title") }, h("h2", {}, t("story.title")), story));

  const loadMachine = () => get(address).then((told) => { machine = told; draw(); });
  const loadEvents = () => get(`api/events?${query({ machine: name, limit: 50 })}`).then((told) => { events = told; drawEvents(); drawCourse(); });
  const loadCourse = () => {
    const [since, until] = span();
    return get(`${address}/course?${query({ since: Math.round(since), until: Math.round(until), points: Math.min(800, Math.max(200, element.clientWidth)) })}`).then((told) => { course = told; drawCourse(); drawSpans(); });
  };
  const soon = throttled(() => loadCourse().catch(failed), 1500);
  const machineSoon = throttled(() => Promise.all([loadMachine(), loadEvents()]).catch(failed), 800);
  const clock = setInterval(() => { if (machine) { draw(); panel?.tick(); } if (!fixed && length <= HOUR) drawCourse(); }, 10_000);

  const span = () => fixed ?? [format.now() - length, format.now()];
  const drawCourse = () => { if (course && machine) plot.draw(course, events.filter((it) => it.kind === "sound"), span(), machine.threshold); };
  function drawSpans() {
    const choose = (ms) => { length = ms; fixed = null; loadCourse().catch(failed); };
    replace(spans, SPANS.map(([key, ms]) => h("button", { "data-key": key, "aria-pressed": String(!fixed && length === ms), onclick: () => choose(ms) }, t(`span.${key}`))), fixed && h("button", { onclick: () => choose(length) }, t("span.back")));
  }

  function draw() {
    const status = statusOf(machine), paused = machine.paused_until > format.now(), curate = may("curate");
    replace(head, h("h1", {}, name, " ", chip(status)), curate && h("div", { class: "tools" },
      paused ? h("button", { "data-key": "resume", onclick: () => act("resume", {}, "resumed") }, t("action.resume")) : h("button", { "data-key": "pause", onclick: pause }, t("action.pause")),
      machine.has_bank && h("button", { "data-key": "rate", onclick: rate }, t("action.rate")),
      h("button", { "data-key": "test", onclick: () => act("test-alarm", {}, "test") }, t("action.test"))));
    replace(boxes, machine.troubles.map((it) => h("p", { class: "box trouble" }, `${it.text} (${format.ago(it.since)})`)), paused && h("p", { class: "box" }, t("machines.paused", { time: format.time(machine.paused_until) })), !machine.has_bank && h("p", { class: "box" }, t("machine.nobank")),
      machine.last?.flags && h("p", { class: "flags" }, h("span", { class: "muted" }, t("machine.flags")), machine.last.flags.split("+").map((flag) => h("span", { class: "flag" }, flag.replaceAll("_", " ")))));
    const last = machine.last, figures = [
      ["score", format.score(last?.score), last?.decision ? "odd" : ""], ["threshold", format.score(machine.threshold)], ["p", format.pValue(last?.p_value)],
      ["rate", format.percent(machine.rate)], ["level", last?.level_dbfs === null || last === null ? "–" : `${last.level_dbfs.toFixed(0)} dBFS`], ["heard", machine.heard ? format.ago(machine.heard) : t("machines.never")]];
    replace(tiles, figures.map(([key, value, mark]) => h("div", { class: mark ?? "" }, h("dt", {}, t(`tile.${key}`)), h("dd", {}, value))));
    drawStory(curate);
  }

  function drawStory(curate) {
    const changes = machine.revisions.map((it, i) => ({ at: it.at, text: t("story.revision", { revision: it.revision, action: it.action, rows: plural("story.rows", it.rows), threshold: format.score(it.threshold) }), kind: "bank", newest: i === 0 && it.revision > 1 }));
    const notes = machine.notes.map((it) => ({ at: it.at, kind: "note", text: `${t(`note.${it.action.replaceAll(" ", "")}`)}${it.text ? `: ${it.text}` : ""}${it.author ? ` – ${it.author}` : ""}`, event: it.event }));
    const lines = [...changes, ...notes].sort((a, b) => b.at - a.at).slice(0, 60);
    replace(story, !lines.length && h("li", { class: "muted" }, t("story.none")), lines.map((it) => h("li", { class: it.kind }, h("time", { datetime: csv.iso(it.at), title: csv.iso(it.at) }, format.time(it.at)), " ", it.event ? h("a", { href: `#/machines/${encodeURIComponent(name)}/${it.event}` }, it.text) : h("span", {}, it.text),
      it.newest && curate && machine.has_bank && h("button", { class: "link", onclick: undo }, t("action.undo")))));
  }

  function drawEvents() {
    const chosen = events.find((it) => it.id === (shownEvent || wanted)) ?? (shownEvent ? null : events[0]);
    replace(eventList, events.length ? events.map((it) => eventRow(it, { chosen: it.id === chosen?.id, choose: () => { shownEvent = it.id; drawEvents(); eventPlace.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" }); } })) : h("li", { class: "empty" }, t("events.none")));
    pane.classList.toggle("alone", !chosen);
    if (chosen && panel?.id !== chosen.id) {
      panel?.close();
      shownEvent = chosen.id;
      panel = eventPanel(chosen, context, machineSoon);
      replace(eventPlace, panel.element);
    } else if (chosen) panel.refresh(chosen);
  }

  async function act(what, body, said) {
    try {
      await post(`${address}/${what}`, body);
      if (said) toast(t(`did.${said}`));
      machineSoon();
      soon();
    } catch (error) { failed(error); }
  }
  async function pause() {
    const field = { name: "seconds", label: t("pause.for"), options: PAUSES.map(([value, key]) => [value, t(key)]) };
    const answer = await askUser({ title: t("pause.title"), text: t("pause.text"), fields: [field], action: t("action.pause") });
    if (answer) await act("pause", { seconds: Number(answer.seconds) }, "paused");
  }
  async function rate() {
    const field = { name: "rate", label: t("rate.label"), type: "number", min: 0.001, max: 99, step: "any", required: true, value: String(Number((100 * machine.rate).toPrecision(3))) };
    const answer = await askUser({ title: t("rate.title"), text: t("rate.text"), fields: [field], action: t("action.rate") });
    if (answer) await act("rate", { rate: Number(answer.rate) / 100 }, "rate");
  }
  async function undo() {
    const answer = await askUser({ title: t("undo.title"), text: t("undo.text"), action: t("action.undo"), danger: true });
    if (answer) await act("undo", {}, "undone");
  }

  function saveScores() {
    const columns = ["time", "windows", "low", "mean", "high", "p_value", "anomalous", "revision"];
    csv.download(`${name}-scores.csv`, columns, (course?.points ?? []).map((it) => ({ ...it, time: csv.iso(it.at) })));
  }
  function saveEvents() { csv.download(`${name}-events.csv`, EVENT_COLUMNS, events.map(eventValues)); }

  drawSpans();
  loadMachine().then(() => { if (format.now() - machine.created < HOUR / 6) length = HOUR / 6; return Promise.all([loadEvents(), loadCourse()]); }).catch((error) => { replace(head, h("h1", {}, name)); failed(error); });
  return {
    element, title: name,
    close: () => { clearInterval(clock); soon.cancel(); machineSoon.cancel(); panel?.close(); plot.close(); },
    heard(message) {
      if (message.machine !== name || !machine) return;
      if (message.kind === "open") shownEvent = message.event; // what has just become odd is what the shift wants to see
      if (message.kind === "score" && message.score !== null) { machine.last = message; machine.heard = Math.max(machine.heard ?? 0, Date.parse(message.file_time) || 0); draw(); }
      if (message.kind !== "score" || message.decision) machineSoon(); // an event that is open follows its oddest window
      if (!fixed) soon();
    },
  };
}
