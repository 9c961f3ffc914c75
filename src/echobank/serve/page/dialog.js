// A question with fields; answers with their values, or null.
import { h } from "./dom.js";
import { t } from "./strings.js";

export function askUser({ title, text, fields = [], action, danger = false }) {
  return new Promise((resolve) => {
    const inputs = fields.map((field) => [field.name, made(field)]);
    const values = () => Object.fromEntries(inputs.map(([name, input]) => [name, input.value]));
    const form = h("form", { method: "dialog", onsubmit: () => { dialog.returnValue = "yes"; } },
      h("h2", { id: "dialog-title" }, title), text && h("p", {}, text),
      inputs.map(([name, input], i) => h("label", {}, fields[i].label, input)),
      h("div", { class: "buttons" },
        h("button", { type: "button", onclick: () => dialog.close("no") }, t("cancel")),
        h("button", { class: danger ? "danger" : "main", type: "submit", value: "yes" }, action)));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => { resolve(dialog.returnValue === "yes" ? values() : null); dialog.remove(); } }, form);
    document.body.append(dialog);
    dialog.returnValue = "no";
    dialog.showModal();
    (inputs[0]?.[1] ?? form.querySelector("[type=submit]")).focus();
  });
}

function made({ name, options, area, ...more }) {
  if (options) return h("select", { name }, options.map(([value, label]) => h("option", { value }, label)));
  return area ? h("textarea", { name, rows: 3, ...more }) : h("input", { name, ...more });
}
