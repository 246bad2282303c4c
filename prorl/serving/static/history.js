/* The history: items in order, each of which can be taken away. */

import { byId, el } from "./dom.js";

export class History {
  constructor(changed) {
    this.changed = changed;
    this.items = []; // {name, title}: what the service is told, and what people read
    this.wrong = -1;
    this.list = byId("chosen");
  }

  get names() {
    return this.items.map((item) => item.name);
  }

  add(name, title) {
    this.items.push({ name, title });
    this.draw();
  }

  set(items) {
    this.items = items;
    this.draw();
  }

  replace(place, name, title) {
    this.items[place] = { name, title };
    this.draw();
  }

  remove(place) {
    this.items.splice(place, 1);
    this.draw();
    const buttons = this.list.querySelectorAll("button");
    (buttons[Math.min(place, buttons.length - 1)] ?? byId("history")).focus();
  }

  /** Mark the item at `place` as one that the service does not know. */
  mark(place) {
    this.draw();
    this.list.children[place]?.classList.add("wrong");
  }

  draw() {
    this.list.replaceChildren(
      ...this.items.map(({ title }, place) =>
        el(
          "li",
          {},
          el("span", { class: "title" }, title),
          el("button", {
            type: "button",
            class: "remove",
            "aria-label": `Take ${title} out`,
            onclick: () => this.remove(place),
          }),
        ),
      ),
    );
    this.changed();
  }
}
