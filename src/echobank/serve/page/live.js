// The stream of messages: one EventSource for the whole page. The browser reconnects, and says what it saw last.

const KINDS = ["score", "error", "open", "close", "no_sound", "sound", "test", "source"];
const listeners = new Set();
let source = null, state = "off", onState = () => {};

export const whenStateChanges = (work) => { onState = work; work(state); };

export function subscribe(work) {
  listeners.add(work);
  return () => listeners.delete(work);
}

export function connect(after) {
  disconnect();
  source = new EventSource(`api/stream?after=${after}`);
  source.onopen = () => tell("live");
  source.onerror = (event) => { if (event.data === undefined) tell(source?.readyState === EventSource.CLOSED ? "off" : "lost"); };
  for (const kind of KINDS) source.addEventListener(kind, (event) => {
    if (event.data === undefined) return; // a lost connection has the name of the message of a recording with an error
    const message = JSON.parse(event.data);
    for (const work of [...listeners]) work(message);
  });
  tell("lost");
}

export function disconnect() {
  source?.close();
  source = null;
  tell("off");
}

function tell(now) {
  if (now === state) return;
  state = now;
  onState(state);
}
