"use strict";
// Untrusted text is only put into text nodes and text attributes.

const $ = id => document.getElementById(id);
const kept = 200; // decisions to show
const lookups = ["ImageStatus", "ListImages", "StreamImages"];

let decisions = []; // the newest first
let ahead = 0; // difference between the shim's clock and this one, in milliseconds
let file = "the configuration";

// ---- Elements

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function cell(label, className, ...children) {
  const element = make("td", { className }, ...children);
  element.dataset.label = label;
  element.setAttribute("role", "cell");
  return element;
}

// heading returns the header cell of a row.
function heading(label, ...children) {
  const element = make("th", { scope: "row" }, ...children);
  element.dataset.label = label;
  element.setAttribute("role", "rowheader");
  return element;
}

const dim = text => make("span", { className: "dim" }, text);
const code = text => make("code", {}, text);

// badge shows a state as a word and a shape. The color only repeats it.
function badge(level, word) {
  const element = make("span", { className: "badge" }, word);
  element.dataset.level = level;
  return element;
}

// fold shows a long text as its first characters, which expand to the whole text.
function fold(text, className) {
  const short = 120;
  if (text.length <= short * 1.3) return make("p", { className }, text);
  return make("details", { className }, make("summary", {}, text.slice(0, short) + "…"), make("p", {}, text));
}

// rows updates a table's body to show items. It does not touch unchanged rows, so that a
// text selection in them survives.
function rows(body, items, key, cells) {
  const old = new Map([...body.rows].map(row => [row.dataset.key, row]));
  items.forEach((item, i) => {
    const shown = JSON.stringify(item);
    let row = old.get(String(key(item, i)));
    if (row) {
      old.delete(row.dataset.key);
    } else {
      row = make("tr");
      row.dataset.key = key(item, i);
      row.setAttribute("role", "row");
    }
    if (row.shown !== shown) {
      row.replaceChildren(...cells(item));
      row.shown = shown;
    }
    if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] ?? null);
  });
  old.forEach(row => row.remove());
  body.closest("table").hidden = items.length === 0;
}

function empty(id, isEmpty, ...children) {
  $(id).hidden = !isEmpty;
  if (children.length > 0) $(id).replaceChildren(...children);
}

// ---- Times

const clock = date => date.toLocaleTimeString([], { hour12: false });

function time(text) {
  const date = new Date(text);
  const element = make("time", { dateTime: text, title: date.toLocaleString([], { hour12: false }) });
  element.textContent = ago(date);
  return element;
}

function ago(date) {
  const seconds = (Date.now() + ahead - date) / 1000;
  if (seconds < 2) return "just now";
  if (seconds < 90) return `${Math.floor(seconds)} s ago`;
  if (seconds < 90 * 60) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 36 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

function duration(seconds) {
  if (seconds < 0.001) return `${(seconds * 1000).toPrecision(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toPrecision(2)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

setInterval(() => {
  for (const element of document.querySelectorAll("time")) {
    const text = ago(new Date(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}, 1000);

// ---- Updates

function show(update, fresh) {
  ahead = new Date(update.now) - Date.now();
  file = update.file;
  showHealth(update);
  showFacts(update);
  showNaming(update.names, fresh);
  showRegistries(update.registries);
  showCalls(update.calls);
  decisions = fresh ? update.decisions : [...update.decisions, ...decisions].slice(0, kept);
  showDecisions();
  if (fresh || update.decisions.some(d => !lookups.includes(d.method))) search();
  if (update.configuration !== undefined) $("configuration-text").textContent = update.configuration;
  if ($("file").textContent === "" || update.read !== showRead.shown) showRead(update);
}

function showRead(update) {
  showRead.shown = update.read;
  $("file").replaceChildren("The configuration in ", code(update.file), ", loaded ", time(update.read), ". Secrets are masked. ", code("image-cri-shim check"), " prints the same for any file.");
}

function showHealth({ level, summary, problems, node }) {
  const shown = JSON.stringify([level, summary, problems]);
  $("node").textContent = node;
  document.title = `${{ ok: "✓", warning: "!", failure: "✕" }[level]} ${node} · image-cri-shim`;
  if (showHealth.shown === shown) return; // a screen reader reads each change
  showHealth.shown = shown;
  $("health").dataset.level = level;
  $("summary").textContent = summary;
  $("problems").replaceChildren(...problems.map(problem => {
    const link = make("a", { href: "#" + problem.section }, problem.text);
    return make("li", {}, link);
  }));
}

const places = { runtime: "in the runtime", ledger: "in the ledger" };
let naming = { mode: "unknown", reason: "", ledger: 0 }; // the place of the names of pulled images

// showNaming explains the naming mode. It searches the ledger again if its size has changed,
// which can happen without a decision.
function showNaming(names, fresh) {
  const changed = names.ledger !== naming.ledger || names.mode !== naming.mode;
  naming = names;
  $("ledger-hint").textContent = names.mode === "runtime"
    ? "Pulled images with names that are not in the runtime yet. The names of all other images are in the runtime."
    : "Pulled images that the runtime stores under another name than the one asked for.";
  if (changed && !fresh) search();
}

function named({ mode, reason, ledger, repairs }) {
  const waiting = mode === "runtime" && ledger > 0 ? `, ${ledger} still in the ledger` : "";
  const failed = repairs > 0 ? `, changes failed for ${repairs} repositories` : "";
  return make("span", {}, (places[mode] ?? "unknown") + waiting + failed, " ", dim(`(${reason})`));
}

function showFacts(update) {
  const facts = {
    "Socket": code(update.socket),
    "Runtime": code(update.runtime),
    "Started": time(update.started),
    "Version": update.version,
    "Names kept": named(update.names),
  };
  const shown = JSON.stringify([update.socket, update.runtime, update.started, update.version, update.names]);
  if (showFacts.shown === shown) return;
  showFacts.shown = shown;
  $("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

const levels = { "up": "ok", "down": "failure", "slow in part": "warning", "not asked yet": "unknown" };

function showRegistries(registries) {
  rows($("registries-rows"), registries, (_, i) => i, registry => [
    heading("Registry", code(registry.address), make("br"), dim(`priority ${registry.priority}`)),
    cell("State", "", badge(levels[registry.state], registry.state), ...since(registry)),
    cell("Latency", "number", ...answer(registry)),
  ]);
  empty("registries-empty", registries.length === 0);
}

function since({ since, reason }) {
  const parts = since ? [" ", dimmed("changed ", time(since))] : [];
  return reason ? [...parts, fold(reason, "reason")] : parts;
}

const dimmed = (...children) => make("span", { className: "dim" }, ...children);

function answer({ latency, answered }) {
  return answered ? [duration(latency), make("br"), dimmed(time(answered))] : [dim("none yet")];
}

function showCalls(calls) {
  rows($("calls-rows"), calls, call => call.method, call => [
    heading("Method", ...methodName(call.method)),
    cell("Calls", "number", String(call.calls)),
    cell("Failed", "", ...failed(call)),
    cell("Duration", "chart", bars(call)),
    cell("p50", "number", duration(call.half)),
    cell("p95", "number", duration(call.most)),
    cell("Max", "number", duration(call.longest)),
  ]);
  empty("calls-empty", calls.length === 0);
}

// methodName shows the method of "/runtime.v1.ImageService/PullImage" first, and its service
// below.
function methodName(method) {
  const [, service, name] = method.match(/^\/(.*)\/(.*)$/) ?? [, "", method];
  return service ? [name, make("br"), dim(service)] : [name];
}

function failed(call) {
  if (call.failed === 0) return [dim("none")];
  return [badge("warning", String(call.failed)), make("br"), dimmed(call.code, " ", time(call.failedAt))];
}

// bars returns a histogram of durations. The height of a bar grows with the square root of
// its number of calls, so that a single call among thousands is visible.
function bars({ buckets }) {
  const most = Math.sqrt(Math.max(...buckets));
  const bound = i => duration(0.00025 * 2 ** i);
  const words = buckets.flatMap((n, i) => n === 0 ? [] : [i === buckets.length - 1 ? `${n} longer` : `${n} within ${bound(i)}`]);
  const chart = make("div", { className: "bars", title: words.join("\n") }, ...buckets.map(n => {
    const bar = make("span");
    bar.style.height = n === 0 ? "0" : `${Math.max(10, 100 * Math.sqrt(n) / most)}%`;
    return bar;
  }));
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", words.join(", "));
  return chart;
}

// ---- Decisions

function matches(decision, words, kind) {
  if (kind === "failures" && !decision.error) return false;
  if (kind === "acts" && lookups.includes(decision.method)) return false;
  const text = [decision.method, decision.asked, decision.served, decision.registry, decision.reason, nameOf(decision), decision.error].join("\n").toLowerCase();
  return words.every(word => text.includes(word));
}

function showDecisions() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = decisions.filter(decision => matches(decision, words, $("kind").value));
  rows($("decisions-rows"), shown, decision => decision.number, decision => [
    cell("When", "when", time(decision.at)),
    cell("Call", "", decision.method),
    heading("Asked for", code(decision.asked)),
    cell("Served by", "", ...served(decision)),
    cell("Reason", "", ...why(decision)),
    cell("Duration", "number", duration(decision.seconds)),
  ]);
  const all = decisions.length;
  $("decisions-count").value = all === 0 ? "" : shown.length === all ? `the last ${all}` : `${shown.length} of the last ${all}`;
  if (all === 0) {
    empty("decisions-empty", true, "No image requests since the shim started. Try ", code("crictl pull nginx"), ", or create a pod on this node.");
  } else {
    empty("decisions-empty", shown.length === 0, "None of the last ", String(all), " decisions matches.");
  }
}

function served({ registry, served, error }) {
  if (error) return [badge("failure", "failed")];
  if (!served && !registry) return [dim("none")];
  const parts = [];
  if (registry) parts.push(code(registry));
  if (registry && served) parts.push(make("br"));
  if (served) parts.push(make("code", { className: "dim" }, served));
  return parts;
}

const nameOf = ({ names }) => names ? (names === "runtime" ? "named in the runtime" : "name kept in the ledger") : "";

function why(decision) {
  const { reason, error } = decision, name = nameOf(decision);
  return [reason && fold(reason, ""), name && make("p", { className: "dim" }, name), error && fold(error, "error")].filter(Boolean);
}

$("filter").addEventListener("input", showDecisions);
$("kind").addEventListener("input", showDecisions);
for (const form of document.forms) form.addEventListener("submit", event => event.preventDefault());

// ---- Ledger

let asking = new AbortController();

async function search() {
  asking.abort();
  asking = new AbortController();
  const text = $("search").value;
  try {
    const response = await fetch("ledger?q=" + encodeURIComponent(text), { signal: asking.signal });
    if (!response.ok) throw new Error(await response.text());
    showNames(text, await response.json());
  } catch (error) {
    if (error.name !== "AbortError") $("ledger-count").value = "search failed";
  }
}

function showNames(text, { names, found, all }) {
  rows($("ledger-rows"), names, name => name.original, name => [
    heading("Asked for", code(name.original)),
    cell("Stored as", "", code(name.stored), ...(name.registry ? [make("br"), dimmed("from ", name.registry)] : [])),
    cell("Image", "", make("code", { title: name.image }, name.image.replace(/^sha256:/, "").slice(0, 12))),
    cell("Pulled", "when", time(name.at)),
  ]);
  const shown = names.length < found ? `, newest ${names.length} shown` : "";
  $("ledger-count").value = all === 0 ? "" : text === "" ? `${all} in total${shown}` : `${found} of ${all}${shown}`;
  if (all === 0) {
    empty("ledger-empty", true, naming.mode === "runtime" ? "Empty: the runtime has all names." : "Empty: no image has been pulled under another name yet.");
  } else {
    empty("ledger-empty", found === 0, "No name in the ledger contains ", code(text), ". ", code("image-cri-shim resolve IMAGE"), " explains which registry would serve an image.");
  }
}

let typing;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, 200);
});

// ---- Live

let source, silence, paused = false;

function connection(state, text) {
  $("connection").dataset.state = state;
  if ($("connection-text").textContent !== text) $("connection-text").textContent = text;
}

function connect() {
  disconnect();
  let fresh = true; // the first update of a connection is complete
  source = new EventSource("live");
  source.onmessage = message => {
    show(JSON.parse(message.data), fresh);
    fresh = false;
    connection("live", "Live");
    listen();
  };
  source.onerror = () => lost("No connection to the shim");
  source.addEventListener("full", message => lost(message.data));
  listen();
}

// listen expects the next update within 8 s: a tunnel may hang without an error.
function listen() {
  clearTimeout(silence);
  silence = setTimeout(() => lost("The shim does not answer"), 8000);
}

function lost(why) {
  disconnect();
  const stopped = $("connection").dataset.state === "lost" ? lost.at : lost.at = new Date();
  connection("lost", `${why} since ${clock(stopped)}, retrying`);
  silence = setTimeout(connect, 1500);
}

function disconnect() {
  clearTimeout(silence);
  source?.close();
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) {
    disconnect();
    connection("paused", `Paused at ${clock(new Date())}`);
  } else {
    connection("connecting", "Connecting…");
    connect();
  }
});

// A hidden tab needs no updates.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) disconnect();
  else if (!paused) connect();
});

if (!document.hidden) connect();
