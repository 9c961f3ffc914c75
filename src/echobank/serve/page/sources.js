// Sources: what the service listens to and watches by itself, how that goes, and one more.
import { get, post, remove } from "./api.js";
import { askUser } from "./dialog.js";
import { h, replace } from "./dom.js";
import * as format from "./format.js";
import { failed } from "./notice.js";
import { t } from "./strings.js";

const KINDS = ["mic", "stream", "folder"];
const EXAMPLES = { mic: "mic", stream: "rtsp://192.168.1.20/stream", folder: "/srv/recordings" };

export function sourcesCard({ may }) {
  const list = h("ul", { class: "tokens" }), place = h("div");
  const card = h("section", { class: "card", "aria-label": t("sources.title") }, h("h2", {}, t("sources.title")), h("p", { class: "muted" }, t("sources.intro")), list, place);

  const load = () => get("api/sources").then(draw).catch((error) => { if (error.status === 404) card.remove(); else failed(error); });

  function draw(sources) {
    replace(list, sources.length ? sources.map(line) : h("li", { class: "muted" }, t("sources.none")));
  }

  function line(it) {
    const wrong = it.troubles.length > 0;
    return h("li", {}, h("span", { class: `chip ${wrong ? "trouble" : "fine"}` }, it.state), h("b", {}, it.machine), h("span", {}, `${it.name}: ${it.place}`),
      wrong && h("small", {}, it.troubles.join("; ")), it.since && h("small", {}, format.ago(typeof it.since === "number" ? it.since : Date.parse(it.since))),
      may("admin") && h("button", { class: "quiet", "aria-label": t("sources.remove", { name: it.name }), onclick: () => withdraw(it) }, t("add.remove")));
  }

  async function withdraw(it) {
    const answer = await askUser({ title: t("sources.removetitle", { name: it.name }), text: t("sources.removetext"), action: t("add.remove"), danger: true });
    if (answer) remove(`api/sources/${encodeURIComponent(it.name)}`).then(load).catch(failed);
  }

  async function form() {
    const machines = (await get("api/machines")).filter((it) => it.has_bank);
    if (!machines.length) { replace(place, h("p", { class: "muted" }, t("sources.nomachine"))); return; }
    const machine = h("select", { id: "source-machine" }, machines.map((it) => h("option", { value: it.name }, it.name)));
    const kind = h("select", { id: "source-kind", onchange: () => show() }, KINDS.map((name) => h("option", { value: name }, t(`sources.${name}`))));
    const address = h("input", { id: "source-address", required: true, maxlength: 2000, autocomplete: "off" });
    const name = h("input", { id: "source-name", required: true, maxlength: 64, pattern: "[A-Za-z0-9_][A-Za-z0-9_.\\-]*", autocomplete: "off" });
    const silence = h("input", { id: "source-silence", type: "number", min: 0, step: "any", value: "0" }), schedule = h("input", { id: "source-schedule", maxlength: 500, placeholder: "Mon-Fri 06:00-22:00" });
    const show = () => { address.value = kind.value === "mic" ? "mic" : ""; address.placeholder = EXAMPLES[kind.value]; };
    const add = async (event) => {
      event.preventDefault();
      const where = kind.value === "folder" ? { watch: address.value } : { listen: address.value };
      try {
        await post("api/sources", { name: name.value, machine: machine.value, ...where, ...(Number(silence.value) ? { silence_after: Number(silence.value) } : {}), ...(schedule.value ? { schedule: schedule.value } : {}) });
        name.value = "";
        await load();
      } catch (error) { failed(error); }
    };
    const labelled = (field, key) => [h("label", { for: field.id }, t(`sources.${key}`)), field];
    show();
    replace(place, h("details", {}, h("summary", {}, t("sources.new")), h("form", { onsubmit: add }, labelled(machine, "machine"), labelled(kind, "kind"), labelled(address, "address"), labelled(name, "name"),
      h("details", {}, h("summary", {}, t("add.more")), labelled(silence, "silence"), labelled(schedule, "schedule")), h("button", { type: "submit" }, t("sources.add")))));
  }

  load();
  if (may("admin")) form().catch(failed);
  return { element: card, heard: (message) => { if (message.kind === "source") load(); } };
}
