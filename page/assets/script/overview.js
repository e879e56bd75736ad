let file = "the configuration";

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
    const item = make("li", {}, ...problem.image ? imageProblem(problem) : [make("a", { href: "#" + problem.section }, ...breakable(problem.text))]);
    item.dataset.level = problem.level;
    return item;
  }));
  $("next").hidden = level === "ok";
  const real = problems.filter(problem => problem.level !== "note").length;
  $("menu-problems").textContent = real > 0 ? `Problems (${real})` : "Problems";
}

// imageProblem shows a failing image: its name, its pods, the causes and the next steps.
function imageProblem({ level, image }) {
  const times = image.failures === 1 ? "" : ` ${image.failures} times, the last`;
  const result = level === "note" ? "no registry has it: check the name and the tag" : "failed";
  return [
    imageName(image.name),
    make("p", {}, make("a", { href: "#decisions" }, `${image.method}: ${result}`), dim(times + " ", time(image.at))),
    ...image.pods ? [make("p", { className: "pods" }, dim(image.pods.length === 1 ? "pod " : "pods "), ...podNames(image.pods))] : [],
    ...image.causes.map(cause => make("p", { className: "cause" }, ...breakable(cause))),
    nextSteps(image.name),
  ];
}

function podNames(pods) {
  const most = 3;
  const names = pods.slice(0, most).flatMap((pod, i) => i === 0 ? [code(pod)] : [", ", code(pod)]);
  return pods.length > most ? [...names, ` and ${pods.length - most} more`] : names;
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
  const parts = since ? [" ", dim("changed ", time(since))] : [];
  return reason ? [...parts, fold(reason, "reason")] : parts;
}

function answer({ latency, answered }) {
  return answered ? [duration(latency), make("br"), dim(time(answered))] : [dim("none yet")];
}

function showCalls(calls) {
  const failuresFirst = [...calls].sort((a, b) => (b.failed > 0) - (a.failed > 0));
  rows($("calls-rows"), failuresFirst, call => call.method, call => [
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
  return [badge("warning", String(call.failed)), make("br"), dim(call.code, " ", time(call.failedAt))];
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

$("next-copy").append(copyButton("image-cri-shim doctor"));
