const kept = 200; // decisions to show
const lookups = ["ImageStatus", "ListImages", "StreamImages"];

let decisions = []; // the newest first

function matches(decision, words, kind) {
  if (kind === "failures" && !decision.error) return false;
  if (kind === "acts" && lookups.includes(decision.method)) return false;
  const text = [decision.method, decision.asked, decision.served, decision.registry, decision.reason, nameOf(decision), podOf(decision), decision.error].join("\n").toLowerCase();
  return words.every(word => text.includes(word));
}

// showDecisions shows a row for each requested name with its last decision, and the earlier
// ones folded. Names whose last decision is a failure come first.
function showDecisions() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = decisions.filter(decision => matches(decision, words, $("kind").value));
  const byName = new Map();
  for (const decision of shown) byName.set(decision.asked, [...byName.get(decision.asked) ?? [], decision]);
  const images = [...byName.values()].map(byImportance).sort(([a], [b]) => severity(b) - severity(a));
  rows($("decisions-rows"), images, ([last]) => last.asked, ([last, ...others]) => [
    heading("Image", imageName(last.asked), nextSteps(last.asked)),
    cell("Pod", podOf(last) ? "" : "unknown", podOf(last) ? code(podOf(last)) : dim("not in the call")),
    cell("Last call", "", last.method, make("br"), dim(time(last.at), ", ", duration(last.seconds))),
    cell("Served by", "", ...served(last)),
    cell("Reason", "", ...why(last), ...earlier(others)),
  ]);
  const all = decisions.length;
  $("decisions-count").value = all === 0 ? "" : shown.length === all ? `the last ${all}` : `${shown.length} of the last ${all}`;
  if (all === 0) {
    empty("decisions-empty", true, "No image requests since the shim started. Try ", code("crictl pull nginx"), ", or create a pod on this node.");
  } else {
    empty("decisions-empty", shown.length === 0, "None of the last ", String(all), " decisions matches.");
  }
}

const severity = ({ error, absent }) => !error ? 0 : absent ? 1 : 2;

// byImportance moves the last decision that is not a lookup to the front, because a lookup
// follows each pull.
function byImportance(decisions) {
  const last = decisions.find(decision => !lookups.includes(decision.method) || decision.error) ?? decisions[0];
  return [last, ...decisions.filter(decision => decision !== last)];
}

const podOf = ({ namespace, pod }) => pod ? `${namespace}/${pod}` : "";

function served({ registry, served, error, absent }) {
  if (absent) return [badge("unknown", "in no registry")];
  if (error) return [badge("failure", "failed")];
  if (!served && !registry) return [dim("none")];
  const parts = [];
  if (registry) parts.push(code(registry));
  if (registry && served) parts.push(make("br"));
  if (served) parts.push(make("span", { className: "dim" }, imageName(served)));
  return parts;
}

const nameOf = ({ names }) => names ? (names === "runtime" ? "named in the runtime" : "name kept in the ledger") : "";

function why(decision) {
  const { reason, error, absent } = decision, name = nameOf(decision);
  return [reason && fold(reason, "why"), name && make("p", { className: "dim" }, name), error && fold(error, absent ? "dim" : "error", cause(error))].filter(Boolean);
}

// cause returns the end of a runtime's error. Runtimes put the operations before it, with the
// quoted name in each of them, and the shim appends the registries, which the reason has.
function cause(error) {
  const [text] = error.split(/; image-cri-shim |, tried: /), operations = text.lastIndexOf('": ');
  return operations < 0 ? text : text.split(": ", 1) + ": " + text.slice(operations + 3);
}

// earlier shows the other decisions about an image in one line each.
function earlier(others) {
  if (others.length === 0) return [];
  const lines = others.map(decision => make("li", {}, time(decision.at), " ", decision.method, ": ",
    decision.error || decision.registry || decision.reason || "none", podOf(decision) && `, pod ${podOf(decision)}`));
  return [make("details", { className: "earlier" }, make("summary", {}, others.length === 1 ? "1 more call" : `${others.length} more calls`), make("ul", {}, ...lines))];
}

$("filter").addEventListener("input", showDecisions);
$("kind").addEventListener("input", showDecisions);
