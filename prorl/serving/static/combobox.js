/* A field that suggests items while one types: a combobox with a listbox, by the pattern of ARIA 1.2. */

import { items, Problem } from "./api.js";
import { byId, el } from "./dom.js";

const WAIT = 120; // ms between the last key and the search
const SHOWN = 8;

export class Combobox {
  /** In the element `${id}-box`; `choose(item)` is told of what is chosen, `typed(text)` of text that Enter leaves. */
  constructor(id, { placeholder, choose, typed = null }) {
    this.id = id;
    this.choose = choose;
    this.typed = typed;
    this.found = [];
    this.active = -1;
    this.list = el("ul", { id: `${id}-list`, role: "listbox", "aria-label": "Suggestions", hidden: true });
    this.note = el("p", { class: "small note", role: "status", hidden: true });
    this.input = el("input", {
      id,
      type: "text",
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: "200",
      placeholder,
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": `${id}-list`,
      "aria-describedby": `${id}-hint`,
      oninput: () => this.later(),
      onkeydown: (event) => this.key(event),
      onfocus: () => this.input.value === "" || this.input.select(),
      onblur: () => this.close(),
    });
    byId(`${id}-box`).append(this.input, this.list, this.note);
  }

  get value() {
    return this.input.value.trim();
  }

  set value(text) {
    this.input.value = text;
  }

  invalid(isWrong) {
    this.input.toggleAttribute("aria-invalid", isWrong);
    if (isWrong) this.input.setAttribute("aria-invalid", "true");
  }

  later() {
    this.invalid(false);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.search(), WAIT);
  }

  async search() {
    this.running?.abort();
    this.running = new AbortController();
    const text = this.value;
    if (text === "") return this.close();
    try {
      const found = await items(text, SHOWN, this.running.signal);
      if (document.activeElement === this.input) this.open(found, text);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      this.close();
      this.tell(error.message);
    }
  }

  open(found, text) {
    this.found = found;
    this.active = -1;
    this.tell(found.length ? "" : `Nothing is called “${text}”, or nearly so.`);
    this.list.replaceChildren(...found.map((item, place) => this.option(item, place)));
    this.expanded(found.length > 0);
    this.mark(-1);
  }

  option(item, place) {
    return el(
      "li",
      {
        id: `${this.id}-option-${place}`,
        role: "option",
        "aria-selected": "false",
        onpointerdown: (event) => {
          event.preventDefault(); // the field keeps the focus
          this.take(place);
        },
      },
      el("span", { class: "title" }, item.title),
      el("span", { class: "small quiet" }, item.attributes.join(" · ")),
    );
  }

  key(event) {
    const isOpen = !this.list.hidden;
    const last = this.found.length - 1;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) return this.search();
      const step = event.key === "ArrowDown" ? 1 : -1;
      const next = this.active + step;
      this.mark(next > last ? 0 : next < 0 ? last : next);
    } else if (event.key === "Enter") {
      if (isOpen && this.active >= 0) {
        event.preventDefault();
        this.take(this.active);
      } else if (this.typed && this.value !== "") {
        event.preventDefault();
        const text = this.value;
        this.value = "";
        this.close();
        this.typed(text);
      }
    } else if (event.key === "Escape" && (isOpen || !this.note.hidden)) {
      event.preventDefault();
      this.close();
    }
  }

  mark(place) {
    this.active = place;
    [...this.list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === place)));
    if (place < 0) this.input.removeAttribute("aria-activedescendant");
    else {
      this.input.setAttribute("aria-activedescendant", `${this.id}-option-${place}`);
      this.list.children[place].scrollIntoView({ block: "nearest" });
    }
  }

  take(place) {
    const item = this.found[place];
    this.close();
    this.choose(item);
  }

  tell(text) {
    this.note.textContent = text;
    this.note.hidden = text === "";
  }

  close() {
    clearTimeout(this.timer);
    this.running?.abort();
    this.expanded(false);
    this.mark(-1);
    this.tell("");
  }

  expanded(isOpen) {
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
  }
}
