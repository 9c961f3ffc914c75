// The frame of the page: who is there, which view is shown, what comes in live.
import { get, post, whenLoginIsNeeded } from "./api.js";
import { h, replace } from "./dom.js";
import * as format from "./format.js";
import * as live from "./live.js";
import { announce, toast } from "./notice.js";
import { t } from "./strings.js";
import { addView } from "./add.js";
import { eventsView } from "./events.js";
import { loginView } from "./login.js";
import { machineView } from "./machine.js";
import { machinesView } from "./machines.js";
import { chooseTheme, settingsView, themeButton } from "./settings.js";

const app = document.getElementById("app");
const main = h("main", { id: "main", tabindex: "-1" });
const dot = h("span", { class: "live", role: "status" });
const links = [["machines", "#/"], ["events", "#/events"], ["add", "#/add"], ["settings", "#/settings"]];
let me = null, view = null, frame = null, seconds = 0;

const may = (scope) => !!me && (me.scopes.includes(scope) || me.scopes.includes("admin"));
const context = () => ({ me, may, toast, go: (hash) => { location.hash = hash; } });

function route() {
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (name === "machines" && rest[0]) return ["machines", machineView(rest[0], rest[1] ?? "", context())];
  if (name === "events") return ["events", eventsView(context())];
  if (name === "add" && may("admin")) return ["add", addView(rest[0] ?? "", context())];
  if (name === "settings") return ["settings", settingsView(context())];
  return ["machines", machinesView(context())];
}

function show() {
  if (!me) return;
  view?.close?.();
  const [name, made] = route();
  view = made;
  replace(main, view.element);
  for (const link of frame.querySelectorAll("nav a")) {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  title(view.title);
  scrollTo(0, 0);
}

const title = (text) => { document.title = text ? `${text} – echobank` : "echobank"; };

function draw() {
  const items = links.filter(([name]) => name !== "add" || may("admin"));
  const nav = h("nav", { "aria-label": t("nav.label") }, items.map(([name, href]) => h("a", { href, "data-name": name }, t(`nav.${name}`))));
  const out = me.login && h("button", { class: "quiet", onclick: logOut }, t("nav.logout"));
  const brand = h("a", { class: "brand", href: "#/", "aria-label": "echobank" }, h("img", { src: "page/icon.svg", alt: "", width: 24, height: 24 }), "echobank");
  const skip = h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, t("nav.skip"));
  frame = h("div", { class: "frame" }, skip, h("header", {}, brand, nav, h("span", { class: "tools" }, dot, themeButton(), out)), main);
  app.replaceChildren(frame);
}

async function begin() {
  me = await get("api/me");
  format.setClock(me.now);
  draw();
  live.connect(me.sequence);
  show();
}

function askForLogin() {
  me = null;
  view?.close?.();
  view = null;
  live.disconnect();
  app.replaceChildren(loginView(start));
}

async function logOut() {
  await post("api/logout").catch(() => {});
  askForLogin();
}

function start() {
  begin().catch((error) => {
    if (error.status === 401) return;
    app.replaceChildren(h("main", { class: "frame" }, h("h1", {}, "echobank"), h("p", { class: "box trouble", role: "alert" }, error.message || t("error.offline"))));
    setTimeout(start, 5000);
  });
}

whenLoginIsNeeded(askForLogin);
live.whenStateChanges((state) => {
  dot.className = `live ${state}`;
  replace(dot, h("i", { "aria-hidden": "true" }), h("span", {}, t(`live.${state}`)));
  clearTimeout(seconds);
  if (state === "off" && me) seconds = setTimeout(start, 3000); // the login is over, or a proxy ended the stream for good
});
live.subscribe((message) => {
  if (message.kind === "open") announce(t("announce.open", { machine: message.machine }));
  if (message.kind === "close") announce(t("announce.close", { machine: message.machine }));
  if (message.kind === "test") toast(t("announce.test", { machine: message.machine }), { kind: "test" });
  view?.heard?.(message);
});
addEventListener("hashchange", () => { show(); main.focus({ preventScroll: true }); });
chooseTheme();
start();
