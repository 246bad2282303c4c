/* Interest in the target and its rank, step by step, for one guide or two. */

import { el, percent, svg } from "./dom.js";

const WIDTH = 360;
const HEIGHT = 210;
const EDGE = { top: 16, right: 18, bottom: 34, left: 52 };

/** The two charts of `lanes` (name, kind, probability, rank, taken), and a table of the same numbers. */
export function charts(lanes) {
  const interest = {
    name: "Interest in the target",
    of: (lane) => lane.probability,
    tell: percent,
    up: true,
  };
  const rank = { name: "Rank of the target", of: (lane) => lane.rank, tell: (value) => `${Math.round(value)}`, up: false };
  return [
    legend(lanes),
    el("div", { class: "charts" }, chart(interest, lanes), chart(rank, lanes)),
    el("details", {}, el("summary", {}, "The numbers"), el("div", { class: "scroll" }, table(lanes))),
  ];
}

function legend(lanes) {
  return el(
    "ul",
    { class: "legend" },
    lanes.map((lane) => el("li", { class: lane.kind }, lane.name)),
  );
}

function chart(what, lanes) {
  const values = lanes.flatMap(what.of);
  const steps = Math.max(...lanes.map((lane) => what.of(lane).length)) - 1;
  let low = Math.log10(Math.min(...values));
  let high = Math.log10(Math.max(...values));
  if (high - low < 0.3) [low, high] = [low - 0.15, high + 0.15];
  if (!what.up) low = Math.max(0, low);
  const inner = { width: WIDTH - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const x = (step) => EDGE.left + (inner.width * step) / Math.max(1, steps);
  const share = (value) => (Math.log10(value) - low) / (high - low);
  const y = (value) => EDGE.top + inner.height * (what.up ? 1 - share(value) : share(value));
  const told = lanes
    .map((lane) => `${lane.name}: from ${what.tell(what.of(lane)[0])} to ${what.tell(what.of(lane).at(-1))}`)
    .join("; ");
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${what.name}. ${told}` },
    ticks(low, high).map((value) => [
      svg("line", { class: "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "tick", x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" }, what.tell(value)),
    ]),
    marks(steps).map((step) =>
      svg("text", { class: "tick", x: x(step), y: HEIGHT - 12, "text-anchor": "middle" }, step === 0 ? "start" : `${step}`),
    ),
    lanes.map((lane) => line(lane, what, x, y)),
  );
  return el("figure", {}, el("figcaption", {}, what.name), picture);
}

function line(lane, what, x, y) {
  const values = what.of(lane);
  const points = values.map((value, step) => `${x(step)},${y(value)}`);
  return svg(
    "g",
    { class: lane.kind },
    svg("polyline", { class: "line", points: points.join(" ") }),
    values.map((value, step) =>
      svg(
        "circle",
        { class: step > 0 && step <= lane.taken ? "dot taken" : "dot", cx: x(step), cy: y(value), r: step === 0 ? 3 : 4.5 },
        svg("title", {}, `${lane.name}, ${step === 0 ? "before" : `after ${lane.titles[step - 1]}`}: ${what.tell(value)}`),
      ),
    ),
  );
}

/** Three to five values between powers of ten `low` and `high`, evenly apart. */
function ticks(low, high) {
  const n = 4;
  return Array.from({ length: n }, (_, i) => 10 ** (low + ((high - low) * i) / (n - 1)));
}

function marks(steps) {
  const every = Math.max(1, Math.ceil(steps / 10));
  return Array.from({ length: Math.floor(steps / every) + 1 }, (_, i) => i * every);
}

function table(lanes) {
  const steps = Math.max(...lanes.map((lane) => lane.probability.length));
  return el(
    "table",
    {},
    el("caption", { class: "visually-hidden" }, "Interest in the target and its rank, step by step"),
    el(
      "thead",
      {},
      el("tr", {}, el("th", { scope: "col" }, "Step"), lanes.flatMap((lane) => [
        el("th", { scope: "col" }, `${lane.name}: interest`),
        el("th", { scope: "col" }, "rank"),
      ])),
    ),
    el(
      "tbody",
      {},
      Array.from({ length: steps }, (_, step) =>
        el("tr", {}, el("th", { scope: "row" }, step === 0 ? "start" : `${step}`), lanes.flatMap((lane) =>
          step < lane.probability.length
            ? [el("td", {}, percent(lane.probability[step])), el("td", {}, `${lane.rank[step]}`)]
            : [el("td", {}, "–"), el("td", {}, "–")],
        )),
      ),
    ),
  );
}
