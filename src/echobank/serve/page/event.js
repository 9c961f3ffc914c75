// One event: what was odd, in words, in pictures and to hear beside the nearest healthy sound; what to do about it.
import { blob, eventPath, get, post, query } from "./api.js";
import { askUser } from "./dialog.js";
import { h, replace } from "./dom.js";
import * as format from "./format.js";
import { failed, toast } from "./notice.js";
import { player, spectrogram } from "./spectrogram.js";
import { t } from "./strings.js";

const ODDER = 1.25; // a sound that is so much odder takes the place of the one that is shown
const MUTES = [["3600", "mute.hour"], ["28800", "mute.shift"], ["86400", "mute.day"], ["", "mute.change"]];

export function eventPanel(event, { may }, changed) {
  const evidence = h("div", { class: "evidence" }), buttons = h("div", { class: "buttons" }), facts = h("dl", { class: "facts" }), remark = h("div");
  const element = h("section", { class: "card event", "aria-labelledby": "event-title" }, h("h2", { id: "event-title" }), facts, remark, evidence, buttons);
  let players = [], open = true, shown = { clip: event.clip, peak: event.peak };

  function draw() {
    const title = element.querySelector("h2");
    title.textContent = event.kind === "no_sound" ? t("event.silence", { time: format.time(event.opened) }) : t("event.title", { time: format.time(event.opened) });
    const rows = [
      [t("event.state"), event.closed ? t("event.closed", { duration: format.duration(event.closed - event.opened) }) : t("event.open", { duration: format.duration(format.now() - event.opened) })],
      event.peak !== null && [t("event.peak"), `${format.score(event.peak)} (${t("event.threshold", { threshold: format.score(event.threshold) })})`],
      [t("event.file"), event.file],
      event.acknowledged && [t("event.acknowledged"), `${format.time(event.acknowledged)}${event.acknowledged_by ? `, ${event.acknowledged_by}` : ""}`],
      event.muted && [t("event.muted"), format.time(event.muted)],
      event.opinion && [t("event.opinion"), t(`opinion.${event.opinion}`)],
    ];
    replace(facts, rows.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    replace(remark, event.note && h("p", { class: "note" }, event.note));
    replace(buttons, may("curate") ? actions() : h("p", { class: "muted" }, t("event.readonly")));
  }

  const button = (key, work, more = {}) => h("button", { "data-key": key, ...more, onclick: work }, t(`action.${key}`));
  function actions() {
    if (event.kind === "no_sound") return [button("acknowledge", acknowledge)];
    const undo = (event.opinion || event.muted) && button("undo", () => act("undo", {}, "undone"));
    return [
      !event.acknowledged && button("acknowledge", acknowledge, { class: "main" }),
      event.opinion !== "fault" && button("confirm", confirm),
      event.opinion !== "no_fault" && event.clip && button("nofault", noFault),
      button("mute", mute),
      undo,
    ];
  }

  async function act(name, body, said, undo) {
    try {
      event = await post(eventPath(event.id, `/${name}`), body);
      draw();
      toast(t(`did.${said}`), undo ? { action: t("action.undo"), work: () => act("undo", {}, "undone"), seconds: 15 } : {});
      if (name === "no-fault" || name === "undo") load();
      changed(event);
    } catch (error) { failed(error); }
  }

  async function withNote(key, name, said, undo) {
    const note = { name: "text", label: t("event.note"), area: true, maxlength: 2000 };
    const answer = await askUser({ title: t(`${key}.title`), text: t(`${key}.text`), fields: [note], action: t(`action.${key}`) });
    if (answer) await act(name, { text: answer.text, ...(name === "no-fault" ? { clip: shown.clip } : {}) }, said, undo); // what was heard, though an odder sound may have come since
  }
  const acknowledge = () => withNote("acknowledge", "acknowledge", "acknowledged");
  const confirm = () => withNote("confirm", "confirm", "confirmed", true);
  const noFault = () => withNote("nofault", "no-fault", "nofault", true);
  async function mute() {
    const field = { name: "seconds", label: t("mute.for"), options: MUTES.map(([value, key]) => [value, t(key)]) };
    const answer = await askUser({ title: t("mute.title"), text: t("mute.text"), fields: [field], action: t("action.mute") });
    if (answer) await act("mute", { seconds: answer.seconds ? Number(answer.seconds) : null }, "muted");
  }

  async function load(fresh = true) {
    shown = { clip: event.clip, peak: event.peak };
    if (event.kind === "no_sound" || !event.clip) { replace(evidence, event.kind === "no_sound" ? null : h("p", { class: "muted" }, t("event.noclip"))); return; }
    if (fresh) replace(evidence, h("p", { class: "muted", "aria-busy": "true" }, t("loading")));
    try {
      const told = await get(eventPath(event.id, `/explanation?${query({ clip: event.clip })}`));
      const pictures = may("audio") ? await get(eventPath(event.id, `/spectrograms?${query({ clip: told.clip })}`)) : null;
      if (open) show(told, pictures);
    } catch (error) {
      if (open) replace(evidence, h("p", { class: "muted" }, error.message || t("error.offline")));
    }
  }

  function show(told, seen) {
    for (const one of players) one.close();
    players = [];
    const list = h("ol", { class: "sentences" }, told.sentences.map((sentence) => h("li", {}, sentence)));
    const flags = told.flags.length > 0 && h("p", { class: "flags" }, h("span", { class: "muted" }, t("event.flags")), told.flags.map((flag) => h("span", { class: "flag" }, flag.replaceAll("_", " "))));
    const edges = seen && { low: seen.low_hz, high: seen.high_hz };
    const sound = (which) => () => blob(eventPath(event.id, `/sounds/${which}?${query({ clip: told.clip })}`));
    const pictures = seen && h("div", { class: "pair" }, ["odd", "healthy"].map((which) => {
      const title = which === "odd" ? t("event.odd", { start: told.window.start.toFixed(1) }) : t("event.healthy", { file: told.nearest.file });
      const part = seen[which];
      if (!part) return h("figure", {}, h("figcaption", {}, title), h("p", { class: "muted" }, t("event.gone")));
      const picture = spectrogram(part, edges, which === "odd" ? told.regions : [], title);
      const heard = player(sound(which), t(`play.${which}`), { id: `sound-${which}`, shown: picture });
      players.push(heard);
      return h("figure", { class: which }, h("figcaption", {}, title), picture.element, heard.element);
    }));
    replace(evidence, pictures || h("p", { class: "muted" }, t("event.noaudio")), list, flags);
  }

  draw();
  load();
  return {
    element, id: event.id,
    refresh(fresh) {
      const odder = fresh.clip !== shown.clip && fresh.peak > ODDER * shown.peak;
      event = fresh;
      draw();
      if (odder && !players.some((one) => one.playing())) load(false);
    },
    tick: draw,
    close: () => { open = false; for (const one of players) one.close(); },
  };
}
