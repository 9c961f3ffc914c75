// Settings: how the page looks, who is there, tokens, and how the service does.
import { get, post, remove } from "./api.js";
import { askUser } from "./dialog.js";
import { h, replace, svg } from "./dom.js";
import * as format from "./format.js";
import { failed, toast } from "./notice.js";
import { sourcesCard } from "./sources.js";
import { t } from "./strings.js";

const THEMES = ["", "light", "dark"], SCOPES = ["read", "upload", "curate", "audio", "admin"];

function stored() {
  try { return localStorage.getItem("echobank-theme") ?? ""; } catch { return ""; }
}

export function chooseTheme(name = stored()) {
  try { if (name) localStorage.setItem("echobank-theme", name); else localStorage.removeItem("echobank-theme"); } catch { /* for this visit only */ }
  if (name) document.documentElement.dataset.theme = name; else delete document.documentElement.dataset.theme;
  dispatchEvent(new Event("themechange"));
}

const dark = () => (stored() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));

export function themeButton() {
  const moon = "M11 1.5A6.5 6.5 0 1 0 14.5 11 5.5 5.5 0 0 1 11 1.5";
  return h("button", { class: "quiet theme", "aria-label": t("theme.switch"), title: t("theme.switch"), onclick: () => chooseTheme(dark() ? "light" : "dark") },
    svg("svg", { viewBox: "0 0 16 16", class: "shape", "aria-hidden": "true" }, svg("path", { d: moon })));
}

export function settingsView({ me, may }) {
  const sources = sourcesCard({ may });
  const tokens = h("section", { class: "card", "aria-label": t("tokens.title") }), service = h("dl", { class: "facts" });
  const theme = h("select", { id: "theme", onchange: () => chooseTheme(theme.value) }, THEMES.map((name) => h("option", { value: name, selected: stored() === name }, t(`theme.${name || "system"}`))));
  const element = h("div", { class: "view" }, h("h1", {}, t("settings.title")),
    h("section", { class: "card" }, h("h2", {}, t("settings.look")), h("label", { for: "theme" }, t("theme.title")), theme),
    h("section", { class: "card" }, h("h2", {}, t("settings.you")), h("p", {}, me.login ? t("settings.holder", { name: me.name }) : t("settings.open")), h("p", { class: "flags" }, me.scopes.map((scope) => h("span", { class: "flag", title: t(`scope.${scope}`) }, scope)))),
    sources.element,
    may("admin") && tokens,
    h("section", { class: "card" }, h("h2", {}, t("settings.service")), service, h("p", {}, h("a", { href: "docs" }, t("settings.docs")))));

  const drawService = () => get("readyz").then((it) => replace(service, [["version", it.version], ["queue", String(it.queue)], ["changes", String(it.changes)], ["clips", t(me.keeps_clips ? "yes" : "no")], ["upload", `${format.bytes(me.most_bytes)}, ${format.duration(1000 * me.most_seconds)}`]].map(([key, value]) => h("div", {}, h("dt", {}, t(`service.${key}`)), h("dd", {}, value))))).catch(failed);
  const loadTokens = () => get("api/tokens").then(drawTokens).catch(failed);

  function drawTokens(all) {
    const line = (it) => h("li", {}, h("b", {}, it.name), h("span", { class: "flags" }, it.scopes.split(" ").map((scope) => h("span", { class: "flag" }, scope))), h("small", {}, format.time(it.created)), h("button", { class: "quiet", onclick: () => withdraw(it) }, t("tokens.withdraw")));
    const name = h("input", { id: "token-name", required: true, maxlength: 200, autocomplete: "off" });
    const boxes = SCOPES.map((scope) => [scope, h("input", { type: "checkbox", checked: scope === "read" })]);
    const make = async (event) => {
      event.preventDefault();
      try {
        const made = await post("api/tokens", { name: name.value, scopes: boxes.filter(([, box]) => box.checked).map(([scope]) => scope) });
        await loadTokens();
        tokens.prepend(h("div", { class: "box secret", role: "status" }, h("p", {}, t("tokens.once")), h("code", {}, made.token), navigator.clipboard && h("button", { onclick: () => navigator.clipboard.writeText(made.token).then(() => toast(t("copied"))) }, t("copy"))));
      } catch (error) { failed(error); }
    };
    const form = h("form", { onsubmit: make }, h("label", { for: "token-name" }, t("tokens.name")), name,
      h("fieldset", {}, h("legend", {}, t("tokens.scopes")), boxes.map(([scope, box]) => h("label", { class: "check" }, box, h("span", {}, scope, h("small", {}, ` ${t(`scope.${scope}`)}`))))), h("button", { type: "submit" }, t("tokens.make")));
    replace(tokens, h("h2", {}, t("tokens.title")), all.length ? h("ul", { class: "tokens" }, all.map(line)) : h("p", { class: "muted" }, t("tokens.none")), h("details", {}, h("summary", {}, t("tokens.new")), form));
  }

  async function withdraw(it) {
    const answer = await askUser({ title: t("tokens.withdrawtitle", { name: it.name }), text: t("tokens.withdrawtext"), action: t("tokens.withdraw"), danger: true });
    if (answer) remove(`api/tokens/${it.id}`).then(loadTokens).catch(failed);
  }

  drawService();
  if (may("admin")) loadTokens();
  return { element, title: t("settings.title"), heard: sources.heard };
}
