const foldedKey = "image-cri-shim: folded sections"; // in the browser's storage

// Sections stay folded or open for each viewer. Without storage, all are open.
function foldedSections() {
  try {
    return JSON.parse(localStorage.getItem(foldedKey)) ?? [];
  } catch {
    return [];
  }
}

function rememberFolded() {
  try {
    localStorage.setItem(foldedKey, JSON.stringify([...sections].filter(section => !section.open).map(section => section.parentElement.id)));
  } catch {
    // the browser forbids storage
  }
}

const sections = document.querySelectorAll("section > details");
const foldedBefore = foldedSections();
for (const section of sections) {
  section.open = !foldedBefore.includes(section.parentElement.id);
  section.addEventListener("toggle", rememberFolded);
}

// A link to a section unfolds it.
document.addEventListener("click", event => {
  const link = event.target.closest("a[href^='#']");
  const section = link && document.querySelector(`${link.getAttribute("href")} > details`);
  if (section) section.open = true;
});
