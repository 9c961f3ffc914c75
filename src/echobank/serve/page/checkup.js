// Whether the bank of a machine is still good: the findings of its checkup, warnings first.
import { get } from "./api.js";
import { h, replace } from "./dom.js";
import * as format from "./format.js";
import { t } from "./strings.js";

export function checkupCard(address) {
  const place = h("div", {}), element = h("section", { class: "card", "aria-label": t("checkup.title") },
    h("div", { class: "top" }, h("h2", {}, t("checkup.title")), h("button", { "data-key": "checkup", onclick: load }, t("checkup.ask"))), place);

  function load() {
    replace(place, h("p", { class: "muted" }, t("loading")));
    return get(`${address}/checkup`).then(draw, (error) => replace(place, h("p", { class: "box trouble" }, error.message)));
  }

  function draw(checkup) {
    replace(place, h("p", {}, t(`checkup.${checkup.verdict.replace(" ", "")}`), " ", h("span", { class: "muted" }, t("checkup.made", { time: format.time(checkup.made) }))),
      h("ul", { class: "findings" }, checkup.findings.map(finding)));
  }

  const said = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
  const finding = (it) => h("li", { "data-kind": it.kind }, h("details", { open: it.level === "warning" },
    h("summary", { class: it.level === "warning" ? "odd" : "" }, said(it.sentence)),
    h("ul", {}, it.evidence.filter(Boolean).map((text) => h("li", { class: "muted" }, said(text)))),
    it.next_step && h("p", {}, h("b", {}, t("checkup.next")), " ", said(it.next_step))));

  return element;
}
