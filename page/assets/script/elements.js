// Untrusted text is only put into text nodes and text attributes.

const $ = id => document.getElementById(id);

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

const dim = (...children) => make("span", { className: "dim" }, ...children);
const code = text => make("code", {}, .../\s/.test(text) ? breakable(text) : wholeParts(text));

// badge shows a state as a word and a shape. The color only repeats it.
function badge(level, word) {
  const element = make("span", { className: "badge" }, word);
  element.dataset.level = level;
  return element;
}

// fold shows a long text as its first words, or as a given short form. It expands to the whole
// text.
function fold(text, className, short = text) {
  const words = short.length <= 160 ? short : short.slice(0, 160).replace(/\s\S*$/, "") + "…";
  if (words === text) return make("p", { className }, ...breakable(text));
  return make("details", { className }, make("summary", {}, ...breakable(words)), make("p", {}, ...breakable(text)));
}

// rows updates a table's body to show items. It does not touch unchanged rows, so that a
// text selection in them survives. An expanded part of a row stays expanded.
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
      const open = new Set([...row.querySelectorAll("details[open]")].map(part => part.className));
      row.replaceChildren(...cells(item));
      for (const part of row.querySelectorAll("details")) part.open = open.has(part.className);
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
