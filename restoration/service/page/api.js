// Talks to the server: every answer is checked, every refusal becomes an Error with the server's own sentence.

const KEY = "restoration-token";
let asking = null;
let declined = -1; // when the dialog was last left without a token

export class Refused extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// Until a token is given; refused is why the last one was not taken. Who leaves the dialog is not asked again
// for what was under way.
function askForToken(refused) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = document.getElementById("token-dialog");
    const input = document.getElementById("token");
    const problem = document.getElementById("token-problem");
    problem.textContent = refused;
    problem.hidden = !refused;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      asking = null;
      const token = input.value.trim();
      input.value = "";
      if (dialog.returnValue === "token" && token) {
        sessionStorage.setItem(KEY, token);
        resolve();
      } else {
        sessionStorage.removeItem(KEY);
        declined = performance.now();
        reject(noToken());
      }
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

const noToken = () => new Refused(401, "This server answers only with a token. Reload the page to give one.");

export async function ask(path, options = {}) {
  for (;;) {
    let answer;
    const token = sessionStorage.getItem(KEY);
    const began = performance.now();
    try {
      const headers = token ? { ...options.headers, Authorization: `Bearer ${token}` } : options.headers;
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "The server cannot be reached. Is it still running?");
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      if (began < declined) throw noToken();
      const known = sessionStorage.getItem(KEY);
      if (!known || known === token) await askForToken(token ? "The server does not know this token." : "");
      continue;
    }
    let detail = `the server answered ${answer.status}`;
    try {
      detail = (await answer.json()).detail ?? detail;
    } catch { /* it was no problem+json */ }
    throw new Refused(answer.status, detail, Number(answer.headers.get("Retry-After")) || null);
  }
}

export const json = async (path, options) => (await ask(path, options)).json();

// a picture of a restoration, as an address that can be shown; revoke it when it is shown no more
export async function picture(id, show, format = "") {
  const end = format ? `&format=${format}` : "";
  const answer = await ask(`/v1/restorations/${id}/image?show=${encodeURIComponent(show)}${end}`);
  return URL.createObjectURL(await answer.blob());
}

export function submit(image, name, mask, options, strokes = null) {
  const form = new FormData();
  form.append("image", image, name);
  if (mask) form.append("mask", mask, "mask.png");
  if (strokes) form.append("strokes", strokes, "strokes.png");
  form.append("options", JSON.stringify(options));
  return json("/v1/restorations", { method: "POST", body: form });
}
