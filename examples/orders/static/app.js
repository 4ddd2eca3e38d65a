// The page: shows each snapshot that the server sends, and tells it what the person wants.

import { $, ask, button, element, seconds, setText, sync, syncRows, say } from "./dom.js";
import { chart } from "./chart.js";

let groups = [];
let letters = [];
const held = new Set();

// -- showing ----------------------------------------------------------------------------------------------------------

const FIELDS = ["type", "order_id", "customer", "amount"];

function fieldsText(fields) {
  const known = FIELDS.filter((name) => name in fields).map((name) => fields[name] || `no ${name}`);
  const others = Object.keys(fields).filter((name) => !FIELDS.includes(name) && name !== "ts_ms");
  return [...known, ...others.map((name) => `${name}=${fields[name]}`)].join("  ");
}

function showEntries(table, entries, empty) {
  const cells = ({ id, fields }) => [id, ...FIELDS.map((name) => fields[name] ?? "")];
  const whole = entries.map((entry) => ("type" in entry.fields ? entry : { ...entry, fields: { type: fieldsText(entry.fields) } }));
  syncRows(table, whole, ({ id }) => id, cells, { classes: ["id", "", "", "", "n"], empty });
}

function groupCard({ name }) {
  const card = $("group").content.firstElementChild.cloneNode(true);
  card.id = `group-${name}`;
  card.querySelector("h2").textContent = name;
  const form = card.querySelector("form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await ask("/api/consumers/add", { group: name, consumer: form.consumer.value })) form.reset();
  });
  return card;
}

function showGroup(card, group) {
  setText(card.querySelector(".lag"), group.lag ?? "unknown");
  setText(card.querySelector(".held"), group.pending);
  const body = card.querySelector("table");
  const orders = ({ name }) => [
    button("Crash 3", () => ask("/api/crash", { group: group.name, consumer: name, count: 3 })),
    button("Reap", () => ask("/api/reap", { group: group.name, consumer: name })),
    button("Remove", () => ask("/api/consumers/remove", { group: group.name, consumer: name })),
  ];
  const cells = (each) => [
    each.crashes ? `${each.name} (crashes: ${each.crashes})` : each.name,
    each.running ? each.processed : "not here",
    each.pending,
    seconds(each.idle_ms),
  ];
  syncRows(body, group.consumers, ({ name }) => name, cells, { classes: ["", "n", "n", "n"], extra: orders });
  for (const each of group.consumers) {
    const row = [...body.tBodies[0].children].find((child) => child.dataset.key === each.name);
    const [crash, reap] = row.querySelectorAll("button");
    crash.disabled = reap.disabled = !each.running;
  }
}

function showPending() {
  const rows = groups.flatMap(({ name, entries }) => entries.map((entry) => ({ ...entry, group: name })));
  const state = (each) => {
    if (each.retry_s !== null) return `retry in ${each.retry_s.toFixed(1)} s: ${each.error}`;
    return each.idle_ms > 1.2 * minIdle ? "may be reaped" : "";
  };
  const cells = (each) => [each.id, each.group, each.consumer, seconds(each.idle_ms), each.deliveries, state(each)];
  syncRows($("pending"), rows, (each) => `${each.group} ${each.id}`, cells, {
    classes: ["id", "", "", "n", "n", "why"], empty: "nothing is pending",
  });
}

function showLetters(dead) {
  letters = dead.letters;
  const why = (each) => `${each.cause} in ${each.group || "?"}: ${each.why} [${fieldsText(each.fields)}]`;
  const cells = (each) => [each.entry_id || "-", why(each), each.attempt, each.redrives];
  const orders = ({ id }) => [
    button("Redrive", () => ask("/api/redrive", { ids: [id] })),
    button("Discard", () => ask("/api/discard", { ids: [id] })),
  ];
  syncRows($("letters"), letters, ({ id }) => id, cells, {
    classes: ["id", "why", "n", "n"], extra: orders, empty: "no dead letters",
  });
  $("redrive-all").disabled = letters.length === 0;
}

let minIdle = 0;

function showControls(snapshot) {
  const { rate, mended, timer } = snapshot;
  if (!held.has($("rate")) && document.activeElement !== $("rate")) $("rate").value = rate;
  if (!held.has($("mended"))) $("mended").checked = mended;
  if (!held.has($("timer"))) $("timer").checked = timer.on;
  setText($("rate-said"), rate ? `${rate} a second` : "off");
  minIdle = timer.min_idle_s * 1000;
  setText($("timer-said"), timer.on ? `timer reaps in ${Math.ceil(timer.due_s)} s` : "timer is off");
}

function showLog(lines) {
  sync(
    $("log"),
    lines,
    ({ number }) => String(number),
    ({ at_ms: at, text }) => {
      const line = element("li");
      line.append(element("time", new Date(at).toLocaleTimeString("en-GB")), element("span", text));
      return line;
    },
    () => {},
  );
}

function show(snapshot) {
  if (snapshot.error) {
    live("server away", true);
    return say(snapshot.error, true);
  }
  if (!snapshot.stream) return;
  live("live");
  const { stream, tally, samples } = snapshot;
  setText($("key"), stream.key);
  setText($("length"), stream.length);
  for (const name of ["produced", "acked", "claimed"]) setText($(name), tally[name]);
  setText($("dead"), snapshot.dead.length);
  setText($("first"), stream.first || "-");
  setText($("last"), stream.last || "-");
  groups = snapshot.groups;
  showControls(snapshot);
  sync($("groups"), groups, ({ name }) => name, groupCard, showGroup);
  showPending();
  showLetters(snapshot.dead);
  showEntries($("tail"), snapshot.tail, "the stream is empty");
  showLog(snapshot.log);
  chart($("chart-rate"), samples, [["produced", "produced", 3], ["acked", "acked", 4]]);
  for (const what of ["lag", "pending"]) {
    chart($(`chart-${what}`), samples, groups.map(({ name }, place) => [`${what}:${name}`, name, place + 1]));
  }
}

function live(text, bad = false) {
  setText($("live"), text);
  $("live").classList.toggle("bad", bad);
}

// -- telling ----------------------------------------------------------------------------------------------------------

/** A number as it was typed; what is none goes as text, for the server to say so. */
const number = (input) => (input.value.trim() !== "" && Number.isFinite(Number(input.value)) ? Number(input.value) : input.value);

function onSubmit(form, action) {
  form.noValidate = true; // the server says what is wrong, in words
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    action(form.elements);
  });
}

/** A control that was changed is left alone until snapshots can know of it. */
function onChange(control, action) {
  control.addEventListener("change", async () => {
    held.add(control);
    await action(control);
    setTimeout(() => held.delete(control), 700);
  });
}

onSubmit($("produce"), ({ count, type, customer }) => {
  ask("/api/produce", { count: number(count), type: type.value || null, customer: customer.value || null });
});
onSubmit($("trim"), ({ keep }) => ask("/api/trim", { length: number(keep) }));
onSubmit($("replay"), async ({ start, end, limit, reverse }) => {
  const query = new URLSearchParams({
    start: start.value, end: end.value, limit: limit.value, reverse: String(reverse.checked),
  });
  const answer = await ask(`/api/replay?${query}`);
  if (!answer) return;
  $("replayed").tBodies[0].replaceChildren();
  showEntries($("replayed"), answer.entries, "nothing in that range");
  setText($("replay-said"), answer.message);
});
onChange($("rate"), ({ value }) => ask("/api/rate", { rate: Number(value) }));
$("poison").addEventListener("click", () => ask("/api/poison", {}));
onChange($("mended"), ({ checked }) => ask("/api/mend", { on: checked }));
onChange($("timer"), ({ checked }) => ask("/api/timer", { on: checked }));
$("reset").addEventListener("click", () => ask("/api/reset", {}));
$("redrive-all").addEventListener("click", () => {
  const whole = letters.filter(({ fields }) => Object.keys(fields).length);
  if (whole.length) ask("/api/redrive", { ids: whole.map(({ id }) => id) });
  else say("These letters have no fields: there is nothing to move back.", true);
});

const source = new EventSource("/api/events");
source.addEventListener("message", ({ data }) => show(JSON.parse(data)));
source.addEventListener("error", () => live("disconnected", true));
