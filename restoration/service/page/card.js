// One restoration on the page: its picture as it improves, and what can be done with it.

import { ask, json, picture, submit } from "./api.js";
import { follow } from "./follow.js";
import { forget } from "./memory.js";
import { paint } from "./paint.js";

const words = {
  finished: "Done", deadline: "Stopped in time", max_nfe: "Stopped at the evaluations allowed", interrupt: "Stopped",
};
const names = { degraded: "as given", std: "spread: white is where samples differ most", result: "result" };

export class Card {
  constructor(entry, callbacks) {
    this.entry = entry; // { id, name, task, image?, mask?, options?, strokes?, painted? }: files only in this page's own life
    this.callbacks = callbacks;
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    this.parts = Object.fromEntries(
      ["h2", ".before", ".after", ".status", ".heard", "progress", ".strip", ".notes", ".problem", ".stop", ".more",
        ".again", ".paint", ".candidates", ".download", ".format", ".forget", ".compare"].map((selector) => [selector.replace(".", ""), find(selector)]));
    this.slide = find(".slide input");
    this.parts.h2.textContent = `${entry.name}: ${entry.task}`;
    this.element.setAttribute("aria-label", `${entry.name}: ${entry.task}`);
    this.selected = null; // the preview that was gone back to
    this.shown = new Map(); // names of pictures to addresses of theirs
    this.fetching = false;
    this.slide.addEventListener("input", () => this.#reveal(this.slide.value));
    this.parts.compare.addEventListener("pointerdown", (event) => this.#drag(event));
    this.parts.compare.addEventListener("pointermove", (event) => { if (event.buttons) this.#drag(event); });
    this.parts.stop.addEventListener("click", () => this.#do("stop", () => ask(this.#at("/stop"), { method: "POST" })));
    this.parts.more.addEventListener("click", () => this.#do("more", () => this.#more()));
    this.parts.paint.addEventListener("click", () => this.#do("paint", () => this.#paint(this.selected ?? "best", 1)));
    this.parts.again.addEventListener("click", () => this.#do("again", () => this.#again()));
    this.parts.download.addEventListener("click", () => this.#do("download", () => this.#download()));
    this.parts.forget.addEventListener("click", () => this.forget());
    this.#busy(true);
    this.#reveal(0);
    this.#say("Waiting for its turn…");
  }

  async start() {
    this.gone = new AbortController();
    this.over = false;
    try {
      await this.#look();
      await follow(this.entry.id, (said) => this.#heard(said), this.gone.signal);
    } catch (error) {
      this.#trouble(error.status === 404 ? "Its time is over: the server has forgotten it." : error.message);
      this.#busy(false);
      if (error.status === 404) this.#lost();
    }
  }

  async forget() {
    this.gone?.abort();
    try {
      await ask(this.#at(""), { method: "DELETE" });
    } catch { /* it is forgotten already */ }
    this.#lost();
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.element.remove();
    for (const address of [this.live, ...this.shown.values()]) if (address) URL.revokeObjectURL(address);
    (next?.querySelector("button") ?? document.getElementById("file")).focus();
  }

  #lost() {
    forget(this.entry.id);
    this.parts.candidates.hidden = true;
    for (const button of ["stop", "more", "again", "paint", "download"]) this.parts[button].disabled = true;
  }

  #at = (end) => `/v1/restorations/${this.entry.id}${end}`;

  // what is known of it, after a reload too
  async #look() {
    const known = await json(this.#at(""));
    await this.#know(known);
    this.#choose();
  }

  async #know(known) {
    this.parts.notes.replaceChildren(...known.notes.map((note) => {
      const item = document.createElement("li");
      item.textContent = note;
      return item;
    }));
    if (known.width) {
      this.parts.compare.style.aspectRatio = `${known.width} / ${known.height}`;
      this.parts.compare.classList.toggle("small", known.width < 200);
    }
    for (const one of known.pictures) {
      if (!this.shown.has(one.name) && !known.candidates.includes(one.name)) await this.#strip(one);
    }
    await this.#candidates(known);
    if (this.shown.get("degraded")) this.parts.before.src = this.shown.get("degraded");
    if (known.state === "running" && known.nfe) this.#progress(known);
  }

  #progress(told) {
    this.parts.progress.max = told.total_nfe;
    this.parts.progress.value = told.nfe;
    const seconds = told.elapsed_s == null ? "" : `, ${told.elapsed_s.toFixed(1)} s`;
    this.#say(`${told.nfe} of ${told.total_nfe} evaluations${seconds}${change(told)}${scores(told.scores ?? told)}`);
  }

  async #heard({ event, data }) {
    if (event === "planned") {
      this.#busy(true);
      this.parts.progress.max = data.total_nfe;
      this.#say(`Planned: ${data.total_nfe} evaluations, a first result in ${data.first_s.toFixed(1)} s`, true);
    } else if (event === "preview") {
      this.#busy(true);
      this.#progress(data);
      if (data.complete) {
        this.#say(this.parts.status.textContent, true);
        await this.#strip({ name: nameOf(data.href), ...data });
      }
      this.#live(data.complete ? nameOf(data.href) : "live");
    } else if (event === "known") {
      const had = this.shown.size;
      await this.#know(data);
      if (data.complete && this.shown.size > had) this.#say(this.parts.status.textContent, true);
      if (data.nfe) this.#live("live");
    } else if (event === "result") {
      this.over = true;
      this.#drop((name) => name !== "degraded" && !isPreview(name)); // of the run that was gone on from
      await this.#look();
      this.#busy(false);
      this.#progress(data);
      const seed = ` Seed ${data.seeds[0]}.`;
      this.#say(`${words[data.stopped_by] ?? "Done"}: ${this.parts.status.textContent}.${seed}`, true);
    } else if (event === "candidates") {
      this.over = true;
      await this.#look();
      this.#busy(false);
      this.#progress(data);
      this.parts.progress.hidden = false;
      this.#say(`Which shall be kept? ${data.nfe} of ${data.total_nfe} evaluations${change(data)}`, true);
    } else if (event === "error") {
      this.over = true;
      this.#busy(false);
      this.#say("");
      this.#trouble(data.message);
    } else if (event === "queued") {
      this.#say("Waiting for its turn…");
    }
  }

  // the newest picture, fetched as fast as the line allows and no faster
  async #live(name) {
    this.wanted = name;
    if (this.fetching) return;
    this.fetching = true;
    const useful = () => !this.selected && !this.over;
    try {
      while (this.wanted && useful()) {
        const now = this.wanted;
        this.wanted = null;
        const address = now === "live" ? await picture(this.entry.id, "live") : this.shown.get(now);
        if (!address) continue;
        if (!useful()) {
          if (now === "live") URL.revokeObjectURL(address);
          break;
        }
        this.#show(address, `${this.entry.name}, restored so far`);
        if (now === "live") this.live = address;
      }
    } catch { /* the next event brings another */ } finally {
      this.fetching = false;
    }
  }

  #show(address, alt) {
    if (this.live) URL.revokeObjectURL(this.live);
    this.live = null;
    this.parts.after.src = address;
    this.parts.after.alt = alt;
  }

  #drop(which) {
    for (const [name, address] of [...this.shown]) {
      if (!which(name)) continue;
      if (address) URL.revokeObjectURL(address);
      this.shown.delete(name);
      this.parts.strip.querySelector(`[data-name="${name}"]`)?.remove();
    }
  }

  async #strip(one) {
    if (this.shown.has(one.name)) return;
    this.shown.set(one.name, null); // it is on its way: events and a reload may both ask for it
    let address;
    try {
      address = await picture(this.entry.id, one.name);
    } catch (error) {
      this.shown.delete(one.name);
      if (error.status === 404) return; // a newer one has taken its place
      throw error;
    }
    this.shown.set(one.name, address);
    if (one.name === "degraded") return;
    const button = document.createElement("button");
    const image = document.createElement("img");
    const label = document.createElement("span");
    button.type = "button";
    button.dataset.name = one.name;
    button.setAttribute("aria-pressed", "false");
    image.src = address;
    image.alt = "";
    const told = one.name === "result" ? "result"
      : names[one.name] ?? (one.nfe ? `after ${one.nfe}` : one.name.replace("-", " "));
    label.textContent = one.name === "std" ? "spread" : told;
    button.title = `${told}${change(one)}${scores(one.scores ?? one)}`;
    button.append(image, label);
    button.addEventListener("click", () => this.#select(this.selected === one.name ? null : one.name));
    this.parts.strip.append(button);
  }

  #select(name) {
    this.selected = name;
    this.#choose();
  }

  // show what was gone back to, else the best
  #choose() {
    const latest = [...this.parts.strip.children].map((button) => button.dataset.name);
    const newest = latest.includes("result") ? "result" : latest.findLast(isPreview);
    const name = this.selected ?? newest;
    for (const button of this.parts.strip.children) {
      button.setAttribute("aria-pressed", String(button.dataset.name === this.selected));
    }
    if (this.shown.get(name)) {
      this.#show(this.shown.get(name), `${this.entry.name}, ${names[name] ?? `after ${parseInt(name) || name} evaluations`}`);
    } else if (this.shown.get("degraded") && !this.parts.after.src) {
      this.parts.after.src = this.shown.get("degraded");
    }
  }

  #reveal(percent) {
    this.parts.before.style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
    this.parts.compare.style.setProperty("--at", `${percent}%`);
    this.parts.compare.classList.toggle("split", Number(percent) > 0);
  }

  #drag(event) {
    const box = this.parts.compare.getBoundingClientRect();
    this.slide.value = 100 * (event.clientX - box.left) / box.width;
    this.#reveal(this.slide.value);
  }

  #busy(yes) {
    const { stop, more, again, paint, progress } = this.parts;
    const waits = !this.parts.candidates.hidden;
    const focused = document.activeElement;
    this.element.classList.toggle("busy", yes);
    stop.hidden = !yes;
    more.hidden = yes || waits;
    paint.hidden = yes || waits || !this.over || this.element.querySelector('[data-name="std"]') !== null;
    again.hidden = yes || !this.entry.image;
    progress.hidden = !yes;
    if (focused?.hidden && this.element.contains(focused)) (yes ? stop : more).focus(); // not lost to the keyboard
  }

  async #more() {
    await ask(this.#at("/more"), { method: "POST" });
    this.#busy(true);
    this.selected = null;
    this.start();
  }

  // pictures to choose from, while it waits for that
  async #candidates(known) {
    const { candidates } = this.parts;
    const waits = known.state === "waiting";
    const names = waits ? known.candidates : [];
    if (candidates.dataset.names === names.join()) return;
    candidates.dataset.names = names.join();
    candidates.hidden = true;
    for (const image of candidates.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    const addresses = await Promise.all(names.map((name) => picture(this.entry.id, name)));
    candidates.replaceChildren(...addresses.map((address, i) => {
      const box = document.createElement("div");
      const keep = document.createElement("button");
      const image = document.createElement("img");
      const label = document.createElement("span");
      const brush = document.createElement("button");
      keep.type = brush.type = "button";
      image.src = address;
      image.alt = "";
      label.textContent = `Keep ${i + 1}`;
      keep.append(image, label);
      keep.addEventListener("click", () => this.#do("candidates", () => this.#keep(i + 1, known.nfe)));
      keep.addEventListener("pointerenter", () => { if (this.over) this.parts.after.src = address; });
      keep.addEventListener("focus", () => { if (this.over) this.parts.after.src = address; });
      brush.textContent = "Paint on it";
      brush.setAttribute("aria-label", `Paint on candidate ${i + 1}, and keep it`);
      brush.addEventListener("click", () => this.#do("candidates", () => this.#paint(names[i], i + 1)));
      box.append(keep, brush);
      return box;
    }));
    candidates.hidden = !waits;
    if (waits) this.parts.after.src = addresses[0];
  }

  async #keep(number, nfe) {
    await ask(this.#at("/choose"), {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ keep: [number], nfe }),
    });
    this.#goOn();
  }

  // in colorize what is painted is measured, and the run begins anew; elsewhere the changed preview goes on
  async #paint(name, candidate) {
    const hints = this.entry.task === "colorize";
    const content = await (await ask(this.#at(`/image?show=${encodeURIComponent(name)}&format=png`))).blob();
    const made = await paint(content, { hints, strokes: this.entry.strokes });
    if (!made) return;
    if (hints) {
      const known = await json(this.#at(""));
      const asked = Object.fromEntries(Object.entries(known.options).filter(([, value]) => value !== null));
      const image = this.entry.image ?? await (await ask(this.#at("/image?show=degraded&format=png"))).blob();
      if (!this.entry.image) delete asked.simulate; // what is left of it is grey already
      asked.seed = known.seeds[0];
      const again = await submit(image, this.entry.name, null, asked, made.painted);
      this.callbacks.add({ ...this.entry, id: again.id, options: asked, strokes: made.strokes, painted: made.painted });
      return;
    }
    const form = new FormData();
    form.append("image", made.whole, "painted.png");
    form.append("candidate", String(candidate));
    form.append("trust_edit", String(made.trust));
    await ask(this.#at("/edit"), { method: "POST", body: form });
    this.#goOn();
  }

  #goOn() {
    this.parts.candidates.hidden = true;
    this.parts.candidates.dataset.names = "gone";
    this.selected = null;
    this.#busy(true);
    this.#say("Waiting for its turn…");
    this.start();
  }

  async #again() {
    const { image, name, mask, options } = this.entry;
    const asked = { ...options };
    delete asked.seed;
    const made = await submit(image, name, mask, asked, this.entry.painted);
    this.callbacks.add({ ...this.entry, id: made.id });
  }

  async #download() {
    const format = this.parts.format.value;
    const address = await picture(this.entry.id, this.selected ?? "best", format);
    const link = document.createElement("a");
    const stem = this.entry.name.replace(/\.[^.]*$/, "");
    const which = this.selected && this.selected !== "result" ? `-${this.selected}` : "";
    link.href = address;
    link.download = `${stem}-${this.entry.task}${which}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  // what a button does; until it is done, the button does it no second time
  async #do(name, act) {
    const button = this.parts[name];
    const focused = document.activeElement === button || (name === "candidates" && button.contains(document.activeElement));
    const all = name === "candidates" ? [...button.querySelectorAll("button")] : [button];
    for (const one of all) one.disabled = true;
    this.parts.problem.hidden = true;
    try {
      await act();
    } catch (error) {
      const when = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
      this.#trouble(error.message + when);
    }
    for (const one of all) one.disabled = false;
    if (focused && document.activeElement === document.body) {
      (button.hidden ? this.parts.stop : button).focus();
    }
  }

  // aloud only what is worth an interruption: plans, complete previews, the end
  #say(text, aloud = false) {
    this.parts.status.textContent = text;
    if (aloud) this.parts.heard.textContent = text;
  }

  #trouble(text) {
    this.parts.problem.textContent = sentence(text);
    this.parts.problem.hidden = false;
  }
}

export function sentence(text) {
  const whole = /^\S+:/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1); // a file keeps its name
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

const isPreview = (name) => /^\d+(-\d+)?$/.test(name);

const nameOf = (href) => new URL(href, location).searchParams.get("show");

function change({ expected_change: expected }) {
  return expected ? `; expected to change by about ${expected.toPrecision(2)}` : "";
}

function scores({ psnr, ssim }) {
  return psnr === undefined ? "" : `; PSNR ${psnr.toFixed(2)} dB, SSIM ${ssim.toFixed(3)}`;
}
