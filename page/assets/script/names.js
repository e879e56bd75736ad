const parts = text => text.split(/(?<=[^/]\/|[@,])(?=\w)/);

// breakable returns text with places for line breaks in image names, addresses and paths, so
// that no line breaks inside a word, between a scheme and a host, or before a port or a tag.
const breakable = text => parts(text).flatMap((part, i) => i === 0 ? [part] : [make("wbr"), part]);

// wholeParts returns the parts of a name. A part breaks only if it is wider than its column,
// not even at a hyphen.
const wholeParts = text => parts(text).map(part => make("span", { className: "part" }, part));

// imageName shows an image name. It shortens a digest to 12 of its characters; a click
// shows all of them.
function imageName(name) {
  const short = name.replace(/(sha256:[0-9a-f]{12})[0-9a-f]{52}/g, "$1…");
  if (short === name) return code(name);
  return make("details", { className: "digest" }, make("summary", { title: name }, code(short)), code(name));
}

// imageID shows the ID of an image in the short form of crictl.
const imageID = id => make("code", { title: id }, id.replace(/^sha256:/, "").slice(0, 13));

// copyButton returns a button that copies text.
function copyButton(text, label) {
  const button = make("button", { type: "button", className: "copy", title: `Copy ${text}` }, label ?? "Copy");
  button.addEventListener("click", async () => {
    const name = button.textContent;
    button.textContent = await copy(text, button) ? "Copied" : "Not permitted";
    setTimeout(() => button.textContent = name, 1500);
  });
  return button;
}

// copy writes text to the clipboard. Browsers offer the clipboard's interface on HTTPS and
// localhost only; elsewhere, it copies a selection.
async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", { value: text, className: "clipboard", readOnly: true });
    (near.closest("dialog") ?? document.body).append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    near.focus();
    return copied;
  }
}

// nextSteps returns the buttons for an image.
function nextSteps(name) {
  const resolve = make("button", { type: "button", className: "resolve", title: `Show which registry would serve ${name}` }, "resolve");
  resolve.addEventListener("click", () => resolveImage(name));
  return make("p", { className: "actions" }, copyButton(name, "Copy name"), resolve);
}
