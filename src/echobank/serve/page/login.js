// Login: a token for a cookie that scripts cannot read.
import { post } from "./api.js";
import { h } from "./dom.js";
import { t } from "./strings.js";

export function loginView(done) {
  const field = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, maxlength: 200 });
  const wrong = h("p", { class: "box trouble", role: "alert", hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    wrong.hidden = true;
    try {
      await post("api/login", { token: field.value.trim() });
      done();
    } catch (error) {
      wrong.textContent = error.message || t("error.offline");
      wrong.hidden = false;
      field.select();
    }
  };
  setTimeout(() => field.focus());
  return h("main", { class: "frame login" },
    h("form", { class: "card", onsubmit: submit },
      h("h1", {}, h("img", { src: "page/icon.svg", alt: "", width: 32, height: 32 }), "echobank"),
      h("input", { name: "username", autocomplete: "username", value: "echobank", hidden: true }), // what a password manager keeps it under
      h("label", { for: "token" }, t("login.token")), field, wrong,
      h("button", { class: "main", type: "submit" }, t("login.submit")),
      h("p", { class: "muted" }, t("login.help"))));
}
