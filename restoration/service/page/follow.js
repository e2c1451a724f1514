// Follows restorations until they end. A browser opens some six connections to a server, for all its tabs and windows:
// the newest restorations of a tab that is seen are streamed, three of all windows together, the others are asked after.

import { ask, json } from "./api.js";

const MOST_STREAMS = 2;
const SLOTS = 3; // streams of all windows; locks are this origin's, and a closed window gives its own back
const EVERY_S = 1.5;
const MOST_FAILURES = 20;
const following = []; // the newest last

const streams = (one) => !document.hidden && following.slice(-MOST_STREAMS).includes(one);

// who streams and may not any more is cut off, who may now need not wait
function rearrange() {
  for (const one of following) if (one.streaming !== streams(one)) one.turn?.abort();
}
document.addEventListener("visibilitychange", rearrange);

// Events of a restoration until its result, or candidates to choose from: await tell({event, data}). Between streams, what is known of it is told
// as {event: "known", data}. What tell could not take is told again.
export async function follow(id, tell, signal) {
  const one = { last: 0, streaming: false, turn: null };
  const stop = () => one.turn?.abort();
  signal.addEventListener("abort", stop);
  following.push(one);
  rearrange();
  try {
    for (let failures = 0; !signal.aborted;) {
      one.turn = new AbortController();
      one.streaming = streams(one);
      try {
        const works = () => { failures = 0; };
        const streamed = one.streaming ? await inSlot(() => stream(id, one, tell, works)) : null;
        if (streamed ?? await look(id, one, tell, works)) return;
        if (streamed === false) failures += 1; // it ended too early
      } catch (error) {
        if (signal.aborted) return;
        if (one.turn.signal.aborted) continue; // its turn to stream has come, or is over
        failures += 1;
        if (error.status === 404 || error.status === 401 || failures > MOST_FAILURES) throw error;
      }
      await pause(failures ? Math.min(0.3 * 2 ** failures, 5) : EVERY_S, one.turn.signal);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    following.splice(following.indexOf(one), 1);
    rearrange();
  }
}

// what act returns, while one of the slots is this one's; null where none is free
async function inSlot(act) {
  if (!navigator.locks) return act(); // not over plain HTTP from elsewhere
  for (let slot = 0; slot < SLOTS; slot += 1) {
    let taken = false;
    const found = await navigator.locks.request(`restoration stream ${slot}`, { ifAvailable: true }, (lock) => {
      taken = lock !== null;
      return taken ? act() : null;
    });
    if (taken) return found;
  }
  return null;
}

// whether the result has come
async function stream(id, one, tell, works) {
  const answer = await ask(`/v1/restorations/${id}/events`, {
    signal: one.turn.signal, headers: one.last ? { "Last-Event-ID": String(one.last) } : {},
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return false;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const said = {};
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) said[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
      }
      if (said.event) await tell({ event: said.event, data: JSON.parse(said.data) });
      if (said.id) one.last = Number(said.id);
      works();
      if (["result", "candidates", "error"].includes(said.event)) return true;
    }
  }
}

// the same, by asking; an ended restoration's stream is short, and has the result
async function look(id, one, tell, works) {
  const known = await json(`/v1/restorations/${id}`, { signal: one.turn.signal });
  if (["done", "waiting", "failed"].includes(known.state)) return stream(id, one, tell, works);
  await tell({ event: "known", data: known });
  works();
  return false;
}

function pause(seconds, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
