// The page: a form on one side, restorations on the other.

import { Card, sentence } from "./card.js";
import { Form } from "./form.js";
import { remember, remembered } from "./memory.js";

const list = document.getElementById("restorations");
const trouble = document.getElementById("trouble");

function add(entry, { focus = true } = {}) {
  remember(entry);
  const card = new Card(entry, { add });
  list.prepend(card.element);
  if (focus) {
    card.element.tabIndex = -1;
    card.element.focus({ preventScroll: true });
    card.element.scrollIntoView({ behavior: "smooth", block: "nearest" });
  }
  card.start();
}

for (const entry of remembered()) add(entry, { focus: false });

try {
  await new Form(add).load();
} catch (error) {
  trouble.textContent = sentence(error.message);
  trouble.hidden = false;
}
