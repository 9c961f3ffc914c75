// The description of the API for people, made of /openapi.json.
import { get } from "./api.js";
import { h, replace } from "./dom.js";
import { t } from "./strings.js";

const METHODS = ["get", "post", "put", "delete"];
const list = h("div", { class: "view" }), find = h("input", { type: "search", placeholder: t("docs.find"), "aria-label": t("docs.find"), oninput: () => draw() });
let described = null;

const typeOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((it) => it !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((it) => JSON.stringify(it)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  return schema.type === "array" ? `list of ${typeOf(schema.items)}` : schema.type ?? "";
};

function fields(schema) {
  const resolved = schema?.$ref ? described.components.schemas[schema.$ref.split("/").at(-1)] : schema;
  if (!resolved?.properties) return null;
  const needed = new Set(resolved.required ?? []);
  return table(Object.entries(resolved.properties).map(([name, it]) => ({ name, type: typeOf(it), text: it.description, required: needed.has(name), usual: it.default, inner: inner(it) })));
}

const inner = (it) => it.items?.$ref && fields(it.items);

const table = (rows) => h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, rows.map((it) => h("tr", {},
  h("td", {}, h("code", {}, it.name)), h("td", {}, it.type, it.required ? h("b", {}, ` ${t("docs.required")}`) : it.usual !== undefined && it.usual !== null ? ` = ${JSON.stringify(it.usual)}` : ""), h("td", {}, it.text ?? "", it.inner))))));

function route(method, path, it) {
  const [title, ...more] = (it.description ?? it.summary ?? "").replaceAll("`", "").split("\n\n");
  const parameters = (it.parameters ?? []).map((one) => ({ name: one.name, type: `${typeOf(one.schema)} (${one.in})`, text: one.description, required: one.required, usual: one.schema?.default }));
  const body = it.requestBody && Object.values(it.requestBody.content)[0]?.schema;
  return h("details", { class: "route" },
    h("summary", {}, h("b", { class: `method ${method}` }, method.toUpperCase()), " ", h("code", {}, path), h("span", { class: "muted" }, title), h("span", { class: "flag" }, it["x-scope"] ?? "")),
    more.map((text) => h("p", {}, text)),
    parameters.length ? [h("h3", {}, t("docs.parameters")), table(parameters)] : null,
    body ? [h("h3", {}, t("docs.body")), fields(body)] : null);
}

function draw() {
  const wanted = find.value.toLowerCase(), groups = new Map();
  for (const [path, methods] of Object.entries(described.paths)) for (const method of METHODS) {
    const it = methods[method];
    if (!it || !`${method} ${path} ${it.description ?? ""}`.toLowerCase().includes(wanted)) continue;
    const tag = it.tags?.[0] ?? "";
    groups.set(tag, [...(groups.get(tag) ?? []), route(method, path, it)]);
  }
  replace(list, [...groups].map(([tag, routes]) => h("section", { class: "card" }, h("h2", {}, tag), routes)));
}

const frame = h("div", { class: "frame" }, h("header", {}, h("a", { class: "brand", href: "./" }, h("img", { src: "page/icon.svg", alt: "", width: 24, height: 24 }), "echobank"), h("nav", {}, h("a", { href: "./" }, t("docs.back")), h("a", { href: "openapi.json" }, t("docs.raw")))),
  h("main", { class: "view docs" }, h("div", { class: "top" }, h("h1", {}, t("docs.title")), find), h("p", {}, t("docs.intro")), list));
document.getElementById("app").append(frame);
get("openapi.json").then((told) => { described = told; draw(); }).catch((error) => replace(list, h("p", { class: "box trouble", role: "alert" }, error.status === 401 ? h("a", { href: "./" }, t("docs.login")) : error.message || t("error.offline"))));
