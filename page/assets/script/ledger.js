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

function showNames(text, { images, found, names: all }) {
  rows($("ledger-rows"), images, ({ image }) => image, ({ image, names }) => [
    heading("Asked for", ...namesOf(names, name => name.original)),
    cell("Stored as", "", ...namesOf(names, name => name.stored), ...(names[0].registry ? [dim("from ", ...breakable(names[0].registry))] : [])),
    cell("Image", "", imageID(image)),
    cell("Pulled", "when", time(names[0].at)),
  ]);
  const count = found === 1 ? "1 image" : `${found} images`;
  const shown = images.length < found ? `, newest ${images.length} shown` : "";
  $("ledger-count").value = all === 0 ? "" : `${count}${shown}, ${all} names in total`;
  if (all === 0) {
    empty("ledger-empty", true, naming.mode === "runtime" ? "Empty: the runtime has all names." : "Empty: no image has been pulled under another name yet.");
  } else {
    empty("ledger-empty", found === 0, "No name in the ledger contains ", code(text), ". ", code("image-cri-shim resolve IMAGE"), " explains which registry would serve an image.");
  }
}

// namesOf returns the names of an image: those with tags, and folded those with digests.
function namesOf(names, form) {
  const forms = [...new Set(names.map(form))];
  const tags = forms.filter(name => !name.includes("@")), digests = forms.filter(name => name.includes("@"));
  const parts = tags.map(name => make("p", {}, code(name)));
  if (tags.length === 0) return digests.map(imageName);
  if (digests.length === 0) return parts;
  const word = digests.length === 1 ? "1 digest" : `${digests.length} digests`;
  return [...parts, make("details", { className: "digests" }, make("summary", {}, word), ...digests.map(name => make("p", {}, code(name))))];
}

let typing;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, 200);
});
