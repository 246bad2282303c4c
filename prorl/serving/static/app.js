/* The page: what is asked for on the left, the paths on the right. */

import { items, policy, Problem } from "./api.js";
import { charts } from "./chart.js";
import { Combobox } from "./combobox.js";
import { byId, el } from "./dom.js";
import { History } from "./history.js";
import { Lane } from "./lanes.js";

const THEMES = { dark: "Light", light: "Dark" }; // and what the button then offers

const served = await policy().catch((error) => {
  tellProblem(error);
  throw error;
});
let lanes = [];
let target = null; // {name, title}: the item that was chosen

const targetBox = new Combobox("target", {
  placeholder: "Type a title",
  choose: (item) => {
    target = { name: item.raw_id, title: item.title };
    targetBox.value = item.title;
  },
});
const historyBox = new Combobox("history", {
  placeholder: "Add a title",
  choose: (item) => addToHistory(item.raw_id, item.title),
  typed: (text) => addToHistory(text, text),
});
const history = new History(() => {
  byId("clear").hidden = history.items.length === 0;
});

function addToHistory(name, title) {
  historyBox.value = "";
  history.add(name, title);
  byId("status").textContent = `${title} is in the history.`;
}

/** Who this is, to the service: one name for as long as the page's tab is there. */
function user() {
  const kept = sessionStorage.getItem("prorl-user") ?? Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-");
  sessionStorage.setItem("prorl-user", kept);
  return kept;
}

function tellProblem(error) {
  const box = byId("problem");
  box.hidden = false;
  const text = error.message.replace(`${error.field}: `, "");
  const near = error.suggestions ?? [];
  box.replaceChildren(el("p", {}, near.length ? `${text.split("; did you mean")[0]}. Did you mean:` : text));
  if (!(error instanceof Problem)) return;
  const place = /^history\[(\d+)\]$/.exec(error.field ?? "")?.[1];
  if (error.field === "target") targetBox.invalid(true);
  if (place !== undefined) history.mark(Number(place));
  if (near.length === 0) return;
  box.append(
    el(
      "ul",
      { class: "suggestions", "aria-label": "Did you mean" },
      near.map((item) =>
        el("li", {}, el("button", { type: "button", class: "plain", onclick: () => instead(item, place) }, item.title)),
      ),
    ),
  );
}

/** Take a suggestion for the target, or for the item at `place` of the history. */
function instead(item, place) {
  clearProblem();
  if (place === undefined) targetBox.choose(item);
  else history.replace(Number(place), item.raw_id, item.title);
  byId("go").focus();
}

function clearProblem() {
  byId("problem").hidden = true;
  byId("problem").replaceChildren();
  targetBox.invalid(false);
}

function request() {
  const typed = targetBox.value;
  if (typed === "") throw new Problem("Choose a target first.", "target");
  if (history.items.length === 0) throw new Problem("Add at least one item to the history.", "history");
  const length = byId("length").value;
  return {
    history: history.names,
    target: target?.title === typed ? target.name : typed,
    user: user(),
    ...(length === "" ? {} : { length: Number(length) }),
  };
}

function acceptanceOf(id) {
  return served.acceptances.length ? { acceptance: served.acceptances[Number(byId(id).value)] } : {};
}

function named(settings) {
  if (settings.guide === "search") return "Search";
  return settings.acceptance === undefined ? "Policy" : `Policy, acceptance ${settings.acceptance}`;
}

/** What the lanes' calls say of guide and acceptance. */
function wanted() {
  const first = { guide: "policy", ...acceptanceOf("acceptance") };
  const beside = byId("beside").value;
  if (beside === "search") return [first, { guide: "search" }];
  if (beside === "other") return [first, { guide: "policy", ...acceptanceOf("other") }];
  return [first];
}

async function go(event) {
  event.preventDefault();
  clearProblem();
  byId("go").disabled = true;
  byId("path").setAttribute("aria-busy", "true");
  try {
    const asked = request();
    const begun = wanted().map((settings, i) => new Lane(i ? "second" : "first", named(settings), settings, changed));
    await Promise.all(begun.map((lane) => lane.begin(asked, asked.length ?? served.longest)));
    lanes = begun;
    byId("empty").hidden = true;
    byId("lanes").replaceChildren(...lanes.map((lane) => lane.element));
    byId("path").classList.toggle("single", lanes.length === 1);
    // Two paths are there to be compared, so the chart comes first.
    if (lanes.length > 1) byId("lanes").before(byId("chart"));
    else byId("lanes").after(byId("chart"));
    changed(`A path of ${lanes[0].steps.length} items to ${lanes[0].plan.target.title}.`);
    byId("path").focus({ preventScroll: matchMedia("(min-width: 62rem)").matches });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    tellProblem(error);
    const field = { target: targetBox, history: historyBox }[error.field];
    field?.input.focus();
  } finally {
    byId("go").disabled = false;
    byId("path").removeAttribute("aria-busy");
  }
}

/** Draw the chart anew, and say what happened. */
function changed(text) {
  byId("status").textContent = text;
  const series = lanes.map((lane) => lane.series).filter(Boolean);
  byId("chart").hidden = false;
  byId("chart-body").replaceChildren(
    ...(series.length ? charts(series) : [el("p", { class: "quiet" }, reasonForNoChart())]),
  );
}

function reasonForNoChart() {
  const note = served.judge ?? lanes[0].plan.note;
  return note ? `Interest and rank are not known: ${note}.` : "Interest and rank are not known.";
}

async function example() {
  const found = await items("", 50);
  const spread = (n) => Array.from({ length: n }, (_, i) => found[Math.floor(((i + 0.5) * found.length) / n)]);
  const chosen = spread(6);
  history.set(chosen.slice(0, 5).map((item) => ({ name: item.raw_id, title: item.title })));
  if (targetBox.value === "") targetBox.choose(chosen[5]);
}

function takePasted() {
  const lines = byId("paste").value.split("\n").map((line) => line.trim()).filter(Boolean);
  history.set([...history.items, ...lines.map((line) => ({ name: line, title: line }))]);
  byId("paste").value = "";
  byId("status").textContent = `${lines.length} items are added to the history.`;
}

function option(value, text, isChosen = false) {
  return el("option", { value, selected: isChosen }, text);
}

function slider(id) {
  const input = byId(id);
  input.max = String(served.acceptances.length - 1);
  input.value = String(Math.max(0, served.acceptances.indexOf(served.acceptance)));
  const tell = () => {
    const told = String(served.acceptances[Number(input.value)]);
    byId(`${id}-told`).textContent = told;
    input.setAttribute("aria-valuetext", told);
  };
  input.addEventListener("input", tell);
  tell();
}

function setUp() {
  const explored = served.explore === null ? "" : `, sampled at temperature ${served.explore}`;
  byId("served").textContent = `${served.name} on ${served.dataset}, ${served.n_items} items${explored}`;
  const own = served.shortest === served.longest ? `${served.longest}` : `${served.shortest} to ${served.longest}`;
  byId("length").append(
    option("", `${own} items`, true),
    ...Array.from({ length: served.longest }, (_, i) => option(String(i + 1), i ? `${i + 1} items` : "1 item")),
  );
  byId("beside").append(option("", "nothing", true));
  if (served.search === null) byId("beside").append(option("search", "search"));
  if (served.acceptances.length > 1) {
    byId("beside").append(option("other", "another acceptance"));
    byId("acceptance-section").hidden = false;
    slider("acceptance");
    slider("other");
    byId("other").value = byId("other").value === "0" ? byId("other").max : "0";
    byId("other").dispatchEvent(new Event("input"));
  }
  byId("beside").addEventListener("change", () => {
    byId("other-section").hidden = byId("beside").value !== "other";
  });
  byId("setup").addEventListener("submit", go);
  byId("example").addEventListener("click", () => example().catch(tellProblem));
  byId("clear").addEventListener("click", () => history.set([]));
  byId("take").addEventListener("click", takePasted);
  history.draw();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = THEMES[name];
  byId("theme").setAttribute("aria-label", `${THEMES[name]} colours`);
}

const system = matchMedia("(prefers-color-scheme: dark)");
const own = () => localStorage.getItem("prorl-theme") ?? (system.matches ? "dark" : "light");
system.addEventListener("change", () => theme(own()));
byId("theme").addEventListener("click", () => {
  localStorage.setItem("prorl-theme", own() === "dark" ? "light" : "dark");
  theme(own());
});
theme(own());
setUp();
