/* Calls to the service. */

import { byId } from "./dom.js";

const TOKEN = "prorl-token";

/** What the service, or the way to it, says is wrong; `field` and `suggestions` as in its answers. */
export class Problem extends Error {
  constructor(detail, field = null, suggestions = []) {
    super(detail);
    this.field = field;
    this.suggestions = suggestions;
  }
}

export const policy = () => call("/policy");
export const items = (query, limit, signal) =>
  call(`/items?${new URLSearchParams({ q: query.slice(0, 200), limit })}`, { signal }).then((found) => found.items);
export const guide = (body) => post("/guide", body);
export const feedback = (body) => post("/feedback", body);

function post(path, body) {
  return call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

async function call(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service does not answer. Is it still running?");
  }
  if (answer.status === 401) {
    await askForToken(token !== null);
    return call(path, options);
  }
  if (answer.ok) return answer.json();
  if (answer.status === 429) {
    const seconds = answer.headers.get("Retry-After");
    throw new Problem(`Too many people ask at once. Try again in ${seconds} s.`);
  }
  const told = await answer.json().catch(() => ({ detail: `The service answered ${answer.status}.` }));
  throw new Problem(told.detail, told.field, told.suggestions ?? []);
}

let asking = null;

/** The dialog for the token; several calls wait for the same one. */
function askForToken(wasWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token-dialog");
    byId("token-wrong").hidden = !wasWrong;
    byId("token").value = "";
    dialog.addEventListener(
      "close",
      () => {
        sessionStorage.setItem(TOKEN, byId("token").value.trim());
        asking = null;
        resolve();
      },
      { once: true },
    );
    dialog.showModal();
  });
  return asking;
}
