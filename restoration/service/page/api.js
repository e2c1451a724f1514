// Talks to the server: every answer is checked, every refusal becomes an Error with the server's own sentence.

const KEY = "restoration-token";
let asking = null;

export class Refused extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("token-dialog");
    const input = document.getElementById("token");
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, input.value.trim());
      input.value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export async function ask(path, options = {}) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers: headers(options.headers) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "The server cannot be reached. Is it still running?");
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      await askForToken();
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

export function submit(image, name, mask, options) {
  const form = new FormData();
  form.append("image", image, name);
  if (mask) form.append("mask", mask, "mask.png");
  form.append("options", JSON.stringify(options));
  return json("/v1/restorations", { method: "POST", body: form });
}

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// Events of a restoration until its result, also over a connection that breaks: tell({event, data}).
export async function follow(id, tell, signal) {
  let last = 0;
  for (let failures = 0; !signal.aborted;) {
    try {
      const answer = await ask(`/v1/restorations/${id}/events`, {
        signal, headers: last ? { "Last-Event-ID": String(last) } : {},
      });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        failures = 0;
        text += value;
        const blocks = text.split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const said = {};
          for (const line of block.split("\n")) {
            const colon = line.indexOf(":");
            if (colon > 0) said[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
          }
          if (said.id) last = Number(said.id);
          if (said.event) tell({ event: said.event, data: JSON.parse(said.data) });
          if (said.event === "result" || said.event === "error") return;
        }
      }
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      if (error.status === 404) throw error;
      failures += 1;
      if (failures > 20) throw error;
    }
    await wait(Math.min(0.3 * 2 ** failures, 5));
  }
}
