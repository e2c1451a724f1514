// The form: a picture by file, drop, paste or example, what was done to it, and its mask.

import { json, submit } from "./api.js";
import { sentence } from "./card.js";
import { EXAMPLES } from "./examples.js";
import { MaskEditor } from "./mask.js";

const NUMBERS = ["deadline", "outer", "inner", "samples", "candidates", "seed", "max_nfe", "quality", "grow"];
const TEXTS = ["task", "prior", "kernel", "pattern", "aim", "sampler", "effort"];

export class Form {
  constructor(add) {
    this.add = add;
    this.element = document.getElementById("ask");
    this.fields = this.element.elements;
    this.problem = document.getElementById("ask-problem");
    this.start = document.getElementById("start");
    this.editor = new MaskEditor(document.getElementById("editor"), () => {});
    this.element.addEventListener("submit", (event) => { event.preventDefault(); this.#submit(); });
    const file = document.getElementById("file");
    file.addEventListener("change", () => { if (file.files[0]) this.choose(file.files[0]); file.value = ""; });
    this.fields.task.addEventListener("change", () => this.#suit());
    this.fields.simulate.addEventListener("change", () => this.#suit());
    document.addEventListener("paste", (event) => {
      const image = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
      if (image) this.choose(image);
    });
    const drop = document.getElementById("drop");
    document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      const image = event.dataTransfer.files[0];
      if (image) this.choose(image);
    });
  }

  async load() {
    const [tasks, priors] = await Promise.all([json("/v1/tasks"), json("/v1/priors")]);
    this.tasks = new Map(tasks.map((task) => [task.name, task]));
    this.fields.task.replaceChildren(...tasks.map((task) => new Option(`${task.name}: ${task.help.replaceAll("--", "")}`, task.name)));
    this.fields.task.value = "sr4";
    this.fields.prior.replaceChildren(...priors.map((prior) => new Option(prior.name, prior.name, prior.default)));
    const known = EXAMPLES.filter((one) => !one.options.prior || priors.some((prior) => prior.name === one.options.prior));
    document.getElementById("examples").replaceChildren(...known.map((example) => this.#example(example)));
    this.#suit();
  }

  #example(example) {
    const button = document.createElement("button");
    const image = document.createElement("img");
    const label = document.createElement("span");
    button.type = "button";
    image.src = `examples/${example.file}`;
    image.alt = "";
    label.textContent = example.label;
    button.append(image, label);
    button.addEventListener("click", async () => {
      const answer = await fetch(image.src);
      const blob = await answer.blob();
      this.element.reset();
      await this.choose(new File([blob], example.file, { type: blob.type }));
      for (const [name, value] of Object.entries(example.options)) {
        const field = this.fields[name];
        if (field.type === "checkbox") field.checked = value;
        else field.value = value;
      }
      this.#suit();
      if (example.mask) {
        const mask = await fetch(`examples/${example.mask}`);
        this.editor.take(await createImageBitmap(await mask.blob()));
      }
    });
    return button;
  }

  async choose(file) {
    this.image = file;
    this.#trouble("");
    document.getElementById("chosen").hidden = false;
    document.getElementById("chosen-name").textContent = `${file.name}, ${Math.ceil(file.size / 1000)} kB`;
    try {
      const bitmap = await createImageBitmap(file);
      this.shown = true;
      document.getElementById("stage").hidden = false;
      document.getElementById("canvas").setAttribute("aria-label", `The picture ${file.name}`);
      this.editor.show(bitmap);
    } catch { // TIFF, JPEG 2000: the server reads them, the browser does not
      this.shown = false;
      document.getElementById("stage").hidden = true;
      document.getElementById("chosen-name").textContent += "; this browser cannot show it, the server may read it";
    }
    this.#suit();
  }

  // only the fields that the task takes
  #suit() {
    const task = this.tasks?.get(this.fields.task.value);
    if (!task) return;
    const simulate = this.fields.simulate.checked;
    const takes = {
      sigma: task.takes_sigma, kernel: task.options.includes("kernel"), pattern: task.options.includes("pattern"),
      quality: task.options.includes("quality") && simulate,
    };
    for (const label of this.element.querySelectorAll("[data-for]")) label.hidden = !takes[label.dataset.for];
    this.fields.sigma.placeholder = task.needs_sigma ? "needed: 0.1, or auto" : "none";
    this.fields.kernel.placeholder = task.needs.kernel ? "needed: gaussian:1.6" : "box";
    this.editor.enable(Boolean(task.takes_mask && this.image && this.shown));
  }

  #options() {
    const options = {};
    const visible = (field) => !field.closest("[hidden]");
    for (const name of TEXTS) if (this.fields[name].value && visible(this.fields[name])) options[name] = this.fields[name].value;
    for (const name of NUMBERS) if (this.fields[name].value !== "" && visible(this.fields[name])) options[name] = Number(this.fields[name].value);
    for (const name of ["simulate", "fit", "strip"]) if (this.fields[name].checked) options[name] = true;
    const sigma = this.fields.sigma.value.trim();
    if (sigma && visible(this.fields.sigma)) options.sigma = sigma === "auto" ? sigma : Number.isNaN(Number(sigma)) ? sigma : Number(sigma);
    return options;
  }

  async #submit() {
    if (!this.image) {
      this.#trouble("choose a picture first, or take an example");
      document.getElementById("file").focus();
      return;
    }
    this.#trouble("");
    this.start.disabled = true;
    this.start.textContent = "Sending…"; // with a prior's first picture this takes seconds
    try {
      const options = this.#options();
      const mask = this.editor.enabled && !this.editor.empty ? await this.editor.blob() : null;
      const made = await submit(this.image, this.image.name, mask, options);
      this.add({ id: made.id, name: this.image.name, task: options.task, image: this.image, mask, options });
    } catch (error) {
      const when = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
      this.#trouble(error.message, when);
    } finally {
      this.start.disabled = false;
      this.start.textContent = "Restore";
    }
  }

  #trouble(text, when = "") {
    this.problem.hidden = !text;
    this.problem.textContent = text ? sentence(text) + when : "";
  }
}
