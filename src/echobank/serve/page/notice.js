// Short messages at the edge of the page, and the same for those who hear the page rather than see it.
import { h } from "./dom.js";
import { t } from "./strings.js";

const place = document.getElementById("toasts");

export function toast(text, { kind = "", action, work, seconds = 8 } = {}) {
  const close = () => box.remove();
  const button = action && h("button", { class: "link", onclick: () => { close(); work(); } }, action);
  const box = h("div", { class: `toast ${kind}` }, h("span", {}, text), button, h("button", { class: "close", "aria-label": t("close"), onclick: close }, "×"));
  place.append(box);
  while (place.querySelectorAll(".toast").length > 4) place.querySelector(".toast").remove();
  if (seconds) setTimeout(close, 1000 * seconds);
}

export const failed = (error) => { if (error.name !== "AbortError" && error.status !== 401) toast(error.message || t("error.offline"), { kind: "trouble", seconds: 12 }); };

export function announce(text) {
  const line = h("span", { class: "unseen" }, text);
  place.append(line);
  setTimeout(() => line.remove(), 5000);
}
