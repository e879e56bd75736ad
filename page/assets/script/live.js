for (const form of document.forms) form.addEventListener("submit", event => event.preventDefault());

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
