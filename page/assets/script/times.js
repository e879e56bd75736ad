let ahead = 0; // difference between the clock of the shim and this one, in milliseconds

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
  if (seconds < 0.001) return `${(seconds * 1000).toPrecision(1)}\u00a0ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)}\u00a0ms`;
  if (seconds < 60) return `${seconds.toPrecision(2)}\u00a0s`;
  return `${Math.floor(seconds / 60)}\u00a0min\u00a0${Math.round(seconds % 60)}\u00a0s`;
}

setInterval(() => {
  for (const element of document.querySelectorAll("time")) {
    const text = ago(new Date(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}, 1000);
