// Which restorations this browser has asked for: their ids alone, so that a reload finds them again.

const KEY = "restorations";

export function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((entry) => typeof entry?.id === "string") : [];
  } catch {
    return [];
  }
}

export function remember({ id, name, task }) {
  const others = remembered().filter((entry) => entry.id !== id);
  store([...others, { id, name, task }].slice(-50));
}

export function forget(id) {
  store(remembered().filter((entry) => entry.id !== id));
}

function store(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries));
  } catch { /* a private window: nothing is remembered */ }
}
