// Small helpers. Text only ever goes in as text: nothing here reads HTML.

export const $ = (id) => document.getElementById(id);

export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function setText(node, text) {
  const said = String(text);
  if (node.textContent !== said) node.textContent = said;
}

/** Make the children of `parent` match `items`, keeping those that stay: focus and hover survive. */
export function sync(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, place) => {
    const key = keyOf(item);
    let node = old.get(key);
    old.delete(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    update(node, item);
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
  });
  for (const gone of old.values()) gone.remove();
}

/** Rows of plain cells; `cells(item)` gives texts, `extra(item)` the content of a last cell, made once a row. */
export function syncRows(table, items, keyOf, cells, { classes = [], extra = null, empty = "nothing" } = {}) {
  const body = table.tBodies[0];
  sync(
    body,
    items,
    keyOf,
    (item) => {
      const row = element("tr");
      cells(item).forEach((_, column) => row.append(element("td", "", classes[column] ?? "")));
      if (extra) {
        const cell = element("td", "", "actions");
        cell.append(...extra(item));
        row.append(cell);
      }
      return row;
    },
    (row, item) => cells(item).forEach((text, column) => setText(row.children[column], text)),
  );
  table.classList.toggle("empty", items.length === 0);
  table.dataset.empty = empty;
}

export function button(text, action, className = "small") {
  const made = element("button", text, className);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

let hiding = 0;

export function say(text, bad = false) {
  const said = $("said");
  said.textContent = text;
  said.classList.toggle("bad", bad);
  said.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { said.hidden = true; }, bad ? 12000 : 6000);
}

/** Ask the server; what it answers, or refuses, is shown. Null if it refused. */
export async function ask(path, body) {
  const options = body === undefined
    ? {}
    : { method: "POST", headers: { "Content-Type": "application/json", "X-Orders": "1" }, body: JSON.stringify(body) };
  try {
    const response = await fetch(path, options);
    const answer = await response.json();
    say(answer.message ?? answer.error ?? "Done.", !response.ok);
    return response.ok ? answer : null;
  } catch {
    say("The demo does not answer. Is it still running?", true);
    return null;
  }
}

export function seconds(ms) {
  if (ms < 0) return "-";
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  return ms < 172_800_000 ? `${Math.round(ms / 60_000)} min` : "given back";
}
