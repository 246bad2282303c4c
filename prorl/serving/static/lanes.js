/* A lane: the path of one guide, what was accepted and refused of it, and the rest as it is planned now. */

import { feedback, guide, Problem } from "./api.js";
import { el, fill, listed, percent } from "./dom.js";

export class Lane {
  /** kind: `first` or `second`, its colour; settings: what its calls say of guide and acceptance; `changed(text)` is
   * called with what to tell. */
  constructor(kind, name, settings, changed) {
    Object.assign(this, { kind, name, settings, changed });
    this.taken = []; // accepted steps, in order, with what came before each
    this.refused = [];
    this.plan = null;
    this.over = "";
    this.problem = "";
    this.busy = false;
    this.element = el("section", { class: `lane ${kind}`, "aria-label": name });
  }

  /** Ask for the first path, of at most so many items; throws the `Problem` of a request that is not allowed. */
  async begin(request, most) {
    this.most = most; // items of the whole path
    this.plan = await guide({ ...request, ...this.settings, judge: true });
    this.last = this.plan.history.at(-1).title;
    this.draw();
  }

  get steps() {
    return this.plan.paths[0].items;
  }

  get judged() {
    return this.plan.paths[0].judged;
  }

  /** What the chart draws; null where nothing was judged. */
  get series() {
    const parts = [...this.taken.map((step) => step.judged), this.over ? null : this.judged];
    if (this.taken.some((step) => !step.judged) || (!this.over && !this.judged)) return null;
    const probability = [];
    const rank = [];
    for (const part of parts) {
      if (!part) continue;
      probability.splice(-1, 1, ...part.target_probability);
      rank.splice(-1, 1, ...part.target_rank);
    }
    if (probability.length === 0) return null;
    const titles = [...this.taken.map((step) => step.title), ...(this.over ? [] : this.steps.map((step) => step.title))];
    return { name: this.name, kind: this.kind, probability, rank, titles, taken: this.taken.length };
  }

  /** Accept everything up to `place`. */
  accept(place) {
    const positions = Array.from({ length: place + 1 }, (_, i) => i);
    return this.answer(positions, "accepted", () => {
      const judged = this.judged;
      this.taken.push(
        ...positions.map((i) => ({
          ...this.steps[i],
          before: i === 0 ? this.last : this.steps[i - 1].title,
          judged: judged && {
            acceptance: [judged.acceptance[i]],
            target_probability: judged.target_probability.slice(i, i + 2),
            target_rank: judged.target_rank.slice(i, i + 2),
          },
        })),
      );
      this.last = this.steps[place].title;
      return `${this.last} accepted.`;
    });
  }

  refuse(place) {
    return this.answer([place], "refused", () => {
      this.refused.push(this.steps[place]);
      return `${this.steps[place].title} refused.`;
    });
  }

  leave() {
    return this.answer([null], "left", () => {
      this.over = "Here the user left.";
      return "The user left.";
    });
  }

  /** Tell the service what became of the items at `positions`, and plan the rest. */
  async answer(positions, outcome, keep) {
    if (this.busy) return;
    this.busy = true;
    this.problem = "";
    this.element.setAttribute("aria-busy", "true");
    let told = "";
    try {
      for (const position of positions)
        await feedback({ request_id: this.plan.request_id, outcome, ...(position === null ? {} : { position }) });
      told = keep();
      if (!this.over) await this.replan();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error.message;
      told = error.message;
    } finally {
      this.busy = false;
      this.element.removeAttribute("aria-busy");
      this.draw();
    }
    this.changed(told);
    (this.element.querySelector(".planned .accept") ?? this.element.querySelector("h2")).focus();
  }

  async replan() {
    const isOver = this.taken.length >= this.most;
    if (isOver) this.over = "Nothing is left of the path: all of it was accepted.";
    else this.plan = await guide({ previous: this.plan.request_id, guide: this.settings.guide, judge: true });
  }

  draw() {
    const target = this.plan.target;
    const planned = this.over ? [] : this.steps;
    const first = this.taken[0]?.before ?? this.last;
    fill(
      this.element,
      el("h2", { tabindex: "-1" }, this.name),
      this.problem ? el("p", { class: "problem", role: "alert" }, this.problem) : null,
      el(
        "ol",
        { class: "steps" },
        el("li", { class: "end" }, el("span", { class: "small quiet" }, "from"), el("strong", {}, first)),
        this.taken.map((step, place) => this.card(step, place, step.before, step.judged?.acceptance[0], null)),
        planned.map((step, place) =>
          this.card(
            step,
            this.taken.length + place,
            place === 0 ? this.last : planned[place - 1].title,
            this.judged?.acceptance[place],
            place,
          ),
        ),
        this.over ? el("li", { class: "over" }, this.over) : null,
        el("li", { class: "end target" }, el("span", { class: "small quiet" }, "towards"), el("strong", {}, target.title)),
      ),
      this.refused.length
        ? el("p", { class: "refused small" }, "Refused: ", listed(this.refused.map((step) => step.title)), ".")
        : null,
      planned.length
        ? el("button", { type: "button", class: "link leave", onclick: () => this.leave() }, "The user leaves here")
        : null,
    );
  }

  /** A step: `place` counts planned ones, null for one that was accepted. */
  card(step, number, before, acceptance, place) {
    const isPlanned = place !== null;
    return el(
      "li",
      { class: isPlanned ? "step planned" : "step taken" },
      el("span", { class: "number", "aria-hidden": "true" }, isPlanned ? `${number + 1}` : "✓"),
      el(
        "article",
        { class: "card", "aria-label": `${number + 1}. ${step.title}${isPlanned ? "" : ", accepted"}` },
        el(
          "div",
          { class: "about" },
          el("h3", {}, step.title),
          el(
            "ul",
            { class: "chips", "aria-label": "Attributes" },
            step.attributes.map((name) => el("li", { class: step.why.includes(name) ? "shared" : "" }, name)),
          ),
          el(
            "p",
            { class: "why small" },
            step.why.length ? `shares ${listed(step.why)} with ${before}` : `shares nothing with ${before}`,
          ),
          acceptance === undefined ? null : this.meter(acceptance),
        ),
        isPlanned ? this.buttons(step, place) : null,
      ),
    );
  }

  meter(acceptance) {
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span", {}));
    bar.firstChild.style.width = `${100 * acceptance}%`;
    return el("p", { class: "meter small" }, bar, `${percent(acceptance)} likely to be taken`);
  }

  buttons(step, place) {
    const accept = place === 0 ? "Accept" : "Accept to here";
    return el(
      "div",
      { class: "actions" },
      el(
        "button",
        {
          type: "button",
          class: "accept",
          "aria-label": `${accept}: ${step.title}`,
          onclick: () => this.accept(place),
        },
        accept,
      ),
      el(
        "button",
        { type: "button", class: "refuse", "aria-label": `Refuse ${step.title}`, onclick: () => this.refuse(place) },
        "Refuse",
      ),
    );
  }
}
