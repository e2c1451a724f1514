// A dialog to paint on a preview: colours that are to be there.

import { MaskEditor } from "./mask.js";

const dialog = document.getElementById("paint-dialog");
const colour = dialog.querySelector('[data-tool="colour"]');
const trust = dialog.querySelector(".trust");
const about = dialog.querySelector(".about");
const editor = new MaskEditor(dialog, () => {}, () => colour.value);

// What was painted on a picture (a Blob): { whole, painted, strokes, trust }, or null where nothing was. Strokes are
// those that were there before; hints says that colours are measured and not the whole picture is edited.
export async function paint(content, { strokes = [], hints = false } = {}) {
  editor.show(await createImageBitmap(content, { colorSpaceConversion: "none" }), [...strokes]);
  editor.enable(true);
  trust.hidden = hints;
  trust.querySelector("input").checked = false;
  about.textContent = hints
    ? "Strokes say what colour is there; how light it is stays. The restoration begins anew with them."
    : "What you change goes on in the preview's place: a suggestion, of which the rest of the run makes a picture.";
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  if (dialog.returnValue !== "paint" || editor.empty) return null;
  const [whole, painted] = await Promise.all([editor.whole(), editor.painted()]);
  return { whole, painted, strokes: [...editor.strokes], trust: trust.querySelector("input").checked };
}
