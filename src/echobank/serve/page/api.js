// Requests. A refusal is an ApiError with the sentence of the service; a missing token asks for a login.

export class ApiError extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

let onLogin = () => {};
export const whenLoginIsNeeded = (work) => { onLogin = work; };

async function ask(method, path, { body, json, signal } = {}) {
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: json === undefined ? body : JSON.stringify(json), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "");
  }
  if (answer.ok) return answer;
  let text = answer.statusText;
  try { text = (await answer.json()).error ?? text; } catch { /* not from the service: a proxy */ }
  if (answer.status === 401 && path !== "api/login") onLogin();
  throw new ApiError(answer.status, text);
}

const part = encodeURIComponent;
export const get = async (path, options) => (await ask("GET", path, options)).json();
export const post = async (path, json = {}) => (await ask("POST", path, { json })).json();
export const remove = async (path) => (await ask("DELETE", path)).json();
export const send = async (path, body, options) => (await ask("POST", path, { body, ...options })).json();
export const blob = async (path, options) => (await ask("GET", path, options)).blob();
export const machinePath = (name, rest = "") => `api/machines/${part(name)}${rest}`;
export const eventPath = (event, rest = "") => `api/events/${part(event)}${rest}`;
export const fitPath = (draft, rest = "") => `api/fits/${part(draft)}${rest}`;
export const query = (values) => new URLSearchParams(values).toString();
