// Add a machine: a name, healthy sound from files or the microphone, a fit with progress, and what was odd among it.
import { blob, fitPath, get, post, query, remove, send } from "./api.js";
import { askUser } from "./dialog.js";
import { h, replace } from "./dom.js";
import * as format from "./format.js";
import { failed, toast } from "./notice.js";
import { canRecord, record } from "./recorder.js";
import { player } from "./spectrogram.js";
import { t, plural } from "./strings.js";

const BUSY = ["waiting", "fitting"];
const address = (draft) => `#/add/${draft.id}`;

export function addView(wanted, context) {
  const view = wanted ? draftView(wanted, context) : beginView(context);
  return { title: t("add.title"), ...view };
}

function beginView({ go }) {
  const name = h("input", { id: "machine", required: true, maxlength: 64, autocomplete: "off", placeholder: "pump 7" });
  const window_ = h("input", { id: "window", type: "number", min: 0.5, max: 600, step: "any", value: "10" });
  const rate = h("input", { id: "rate", type: "number", min: 0.01, max: 50, step: "any", placeholder: t("add.usual") });
  const list = h("ul", { class: "drafts" });
  const begin = async (event) => {
    event.preventDefault();
    try {
      go(address(await post("api/fits", { machine: name.value, window: Number(window_.value), ...(rate.value ? { rate: Number(rate.value) / 100 } : {}) })));
    } catch (error) { failed(error); }
  };
  const more = h("details", {}, h("summary", {}, t("add.more")),
    h("label", { for: "window" }, t("add.window")), window_, h("p", { class: "muted" }, t("add.windowhelp")),
    h("label", { for: "rate" }, t("add.rate")), rate, h("p", { class: "muted" }, t("add.ratehelp")));
  const form = h("form", { class: "card narrow", onsubmit: begin }, h("label", { for: "machine" }, t("add.name")), name, more, h("button", { class: "main", type: "submit" }, t("add.begin")));
  get("api/fits").then((drafts) => replace(list, drafts.map((draft) => h("li", {}, h("a", { class: "row", href: address(draft) }, h("b", {}, draft.machine), h("span", {}, t(`fit.${draft.state}`)), h("small", {}, `${plural("recordings", draft.takes.length)}, ${format.ago(draft.created)}`)))))).catch(failed);
  return { element: h("div", { class: "view" }, h("h1", {}, t("add.title")), h("p", {}, t("add.intro")), form, list) };
}

function draftView(id, { me, go }) {
  let draft = null, stop = null, timer = 0, queue = Promise.resolve(), sending = 0, players = [], over = false;
  const head = h("div", { class: "top" }, h("h1", {}, t("add.title"))), takes = h("ul", { class: "takes" }), total = h("p", { class: "muted", "aria-live": "polite" }), place = h("div"), result = h("div");
  const input = h("input", { id: "files", type: "file", multiple: true, accept: "audio/*,.wav,.flac,.ogg,.mp3", class: "unseen", onchange: () => { take([...input.files]); input.value = ""; } });
  const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("i")), clock = h("span", { class: "clock" });
  const mic = h("button", { type: "button", class: "record", onclick: () => toggle().catch(() => toast(t("add.nomic"), { kind: "trouble" })) }, t("add.record"));
  const drop = h("div", { class: "drop", ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); }, ondragleave: () => drop.classList.remove("over"), ondrop: dropped },
    h("p", {}, h("label", { class: "button", for: "files" }, t("add.files")), input, " ", canRecord() ? mic : h("span", { class: "muted" }, t("add.https")), meter, clock),
    h("p", { class: "muted" }, t("add.drop")));
  const sounds = h("section", { class: "card", "aria-label": t("add.sound") }, h("h2", {}, t("add.sound")), h("p", { class: "muted" }, t("add.advice")), drop, total, takes);
  const element = h("div", { class: "view" }, h("p", { class: "back" }, h("a", { href: "#/add" }, t("add.back"))), head, result, place, sounds);

  function dropped(event) {
    event.preventDefault();
    drop.classList.remove("over");
    take([...event.dataTransfer.files]);
  }

  function take(files) {
    for (const file of files) {
      sending += 1;
      queue = queue.then(async () => {
        if (file.size > me.most_bytes) throw new Error(t("add.large", { file: file.name, size: format.bytes(me.most_bytes) }));
        draft = await send(fitPath(id, `/recordings?${query({ file: file.name })}`), file);
      }).catch((error) => toast(`${file.name}: ${error.message || t("error.offline")}`, { kind: "trouble", seconds: 20 })).finally(() => { sending -= 1; if (!over) draw(); });
    }
    draw();
  }

  async function toggle() {
    if (stop) {
      const end = stop;
      stop = null;
      mic.textContent = t("add.record");
      mic.classList.remove("on");
      await end();
      meter.firstChild.style.width = "0";
      clock.textContent = "";
      return;
    }
    let part = 0;
    const began = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    const level = (rms, seconds) => { meter.firstChild.style.width = `${Math.max(0, Math.min(100, 100 + 100 * Math.log10(rms + 1e-6) / 3))}%`; clock.textContent = format.duration(1000 * seconds); };
    stop = await record(level, (sound) => take([new File([sound], `recording-${began}-${++part}.wav`, { type: "audio/wav" })]));
    mic.textContent = t("add.stop");
    mic.classList.add("on");
  }

  function draw() {
    if (!draft) return;
    const busy = BUSY.includes(draft.state), seconds = draft.takes.reduce((sum, one) => sum + one.seconds, 0);
    replace(head, h("h1", {}, draft.machine), !busy && h("button", { onclick: forget }, t(draft.report ? "add.close" : "add.forget")));
    sounds.classList.toggle("busy", busy);
    total.textContent = [plural("recordings", draft.takes.length), format.duration(1000 * seconds), sending ? plural("add.sending", sending) : ""].filter(Boolean).join(" · ");
    for (const one of players) one.close();
    players = [];
    const odd = new Map((draft.report?.odd ?? []).map(([file, , deviations]) => [file, deviations]));
    const first = (one) => (odd.has(one.file) ? 0 : 1); // what was odd is listened to first
    replace(takes, [...draft.takes].sort((a, b) => first(a) - first(b)).map((one) => line(one, odd.get(one.file), busy)));
    replace(place, h("section", { class: "card", "aria-label": t("fit.title") }, busy ? progress() : [
      draft.error && h("p", { class: "box trouble", role: "alert" }, draft.error),
      h("button", { class: "main", disabled: !draft.takes.length || sending > 0, onclick: () => act("start") }, t(draft.report ? "fit.again" : "fit.start")),
      !draft.takes.length && h("span", { class: "muted" }, ` ${t("fit.empty")}`)]));
    replace(result, draft.state === "done" && draft.report && report(odd));
    clearTimeout(timer);
    if (busy && !over) timer = setTimeout(load, 700);
  }

  const sound = (one) => () => blob(fitPath(id, `/recordings/${one.sha256}`));
  function line(one, deviations, busy) {
    const heard = player(sound(one), t("add.play"));
    players.push(heard);
    return h("li", { class: deviations ? "odd" : "" }, h("b", {}, one.file, deviations && h("span", { class: "flag fault" }, t("add.oddone", { deviations: Math.round(deviations) }))), h("small", {}, format.duration(1000 * one.seconds)), heard.element,
      !busy && h("button", { class: "quiet", "aria-label": t("add.drop1", { file: one.file }), onclick: () => remove(fitPath(id, `/recordings/${one.sha256}`)).then(taken, failed) }, t("add.remove")));
  }

  const progress = () => h("div", {}, h("label", { for: "bar" }, t(`fit.${draft.state}`), draft.total ? ` – ${t("fit.progress", { done: draft.done, total: draft.total })}` : ""),
    h("progress", { id: "bar", max: String(Math.max(draft.total, 1)), value: draft.done }), h("button", { onclick: () => act("cancel") }, t("cancel")));

  function report(odd) {
    const { health, skipped, notices } = draft.report;
    return h("section", { class: "card good", "aria-label": t("fit.report") }, h("div", { class: "top" }, h("h2", {}, t("fit.report")), h("a", { class: "button main", href: `#/machines/${encodeURIComponent(draft.machine)}` }, t("fit.open"))),
      odd.size ? h("p", { class: "box" }, plural("fit.odd", odd.size)) : h("p", {}, t("fit.noodd")),
      h("ul", { class: "sentences" }, [...health, ...notices].map((text) => text[0].toUpperCase() + text.slice(1)).map((text) => h("li", {}, text)), skipped.map(([file, reason]) => h("li", {}, `${file}: ${reason}`))));
  }

  const taken = (told) => { draft = told; draw(); };
  const load = () => get(fitPath(id)).then(taken).catch(failed);
  const act = (what) => post(fitPath(id, `/${what}`)).then(taken).catch(failed);
  async function forget() {
    if (draft.report) { go("#/add"); return; }
    if (await askUser({ title: t("add.forgettitle"), text: t("add.forgettext"), action: t("add.forget"), danger: true })) remove(fitPath(id)).then(() => go("#/add")).catch(failed);
  }

  load();
  return { element, close: () => { over = true; clearTimeout(timer); stop?.(); for (const one of players) one.close(); } };
}
