let resolving = new AbortController();

// resolveImage shows what `image-cri-shim resolve` prints for a name. Only a click starts it,
// not the page's address, so that a link on another site can't start it.
async function resolveImage(name) {
  resolving.abort();
  resolving = new AbortController();
  const quoted = /^[\w./:@-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`; // for a shell
  const command = `image-cri-shim resolve ${quoted}`;
  $("resolution-name").replaceChildren(...breakable(name));
  $("resolution-command").replaceChildren(code(command), " ", copyButton(command));
  $("resolution-state").textContent = "Looking up the image…";
  $("resolution-state").hidden = false;
  $("resolution-rows").replaceChildren();
  if (!$("resolution").open) $("resolution").showModal();
  try {
    const response = await fetch("resolve?image=" + encodeURIComponent(name), { headers: { "X-Image-Cri-Shim-Page": "1" }, signal: resolving.signal });
    if (!response.ok) throw new Error(await response.text());
    showResolution(await response.json());
  } catch (error) {
    if (error.name !== "AbortError") $("resolution-state").textContent = `resolve failed: ${error.message}`;
  }
}

const answerLevels = { "found": "ok", "has": "ok", "absent": "warning", "could not ask": "failure", "unknown": "failure" };

function showResolution({ rows, note }) {
  $("resolution-state").textContent = note ?? "";
  $("resolution-state").hidden = !note;
  $("resolution-rows").replaceChildren(...(rows ?? []).map(({ subject, state, reference, detail }) => make("div", {},
    make("dt", {}, ...breakable(subject)),
    make("dd", {},
      ...state ? [badge(answerLevels[state] ?? "unknown", state), " "] : [],
      ...reference && reference !== "-" ? [code(reference)] : [],
      ...detail ? [make("p", { className: "reason" }, ...breakable(detail))] : []))));
}

$("resolution").addEventListener("close", () => resolving.abort());
$("resolution-close").addEventListener("click", () => $("resolution").close());
