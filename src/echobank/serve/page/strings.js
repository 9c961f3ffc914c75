// Every text of the page, in one place and ready to be translated; {name} is replaced by a value.

const STRINGS = {
  "cancel": "Cancel", "close": "Close", "copied": "Copied", "copy": "Copy", "csv": "CSV", "loading": "Loading", "yes": "yes", "no": "no",
  "error.offline": "The service does not answer.",

  "nav.label": "Main", "nav.skip": "Skip to content", "nav.machines": "Machines", "nav.events": "Events", "nav.add": "Add machine", "nav.settings": "Settings", "nav.logout": "Log out",
  "live.live": "Live", "live.lost": "Reconnecting", "live.off": "Not connected",
  "announce.open": "{machine} sounds odd", "announce.close": "{machine} sounds healthy again", "announce.test": "Test alarm of {machine}: messages arrive here.",

  "login.token": "Token", "login.submit": "Log in", "login.help": "Whoever runs this service makes a token with “echobank serve … --new-token NAME”, or in the settings of this page.",

  "status.odd": "Odd sound", "status.fine": "Healthy", "status.paused": "Paused", "status.trouble": "Trouble", "status.idle": "Nothing heard",

  "machines.title": "Machines", "machines.filter": "Show only", "machines.search": "Find a machine", "machines.none": "No machine matches.", "machines.empty": "No machine is known yet. All it takes is a minute or more of healthy sound.",
  "machines.since": "since {time} · {count}", "machines.paused": "Paused until {time}: it is heard and does not alarm.", "machines.never": "never heard",
  "events.count.one": "{n} open event", "events.count.other": "{n} open events",

  "machine.all": "All machines", "machine.flags": "Flags of the last window", "machine.nobank": "This machine has no bank here; its verdicts come from elsewhere.",
  "tile.score": "Score", "tile.threshold": "Threshold", "tile.p": "p-value", "tile.rate": "False alarms", "tile.level": "Level", "tile.heard": "Last heard",

  "chart.title": "Score over time", "chart.span": "Span of time", "chart.time": "Time", "chart.score": "Score", "chart.high": "Largest score", "chart.low": "Least score", "chart.mean": "Mean score", "chart.threshold": "Threshold", "chart.odd": "Anomalous",
  "chart.label": "Scores from {from} to {to}: {windows} windows, {odd} of them anomalous; the threshold is {threshold}.",
  "span.10min": "10 min", "span.hour": "1 h", "span.shift": "8 h", "span.days": "2 days", "span.month": "30 days", "span.year": "1 year", "span.back": "Back to now",

  "events.title": "Events", "events.none": "No events.", "events.open": "Open", "events.closed": "Over", "events.silence": "No sound", "events.peak": "peak {peak}", "events.older": "Older events", "events.onlyopen": "only open",

  "event.title": "Odd sound, {time}", "event.silence": "No sound since {time}", "event.state": "State", "event.open": "open for {duration}", "event.closed": "over, took {duration}", "event.peak": "Peak score", "event.threshold": "threshold {threshold}",
  "event.file": "Recording", "event.acknowledged": "Acknowledged", "event.muted": "Muted", "event.opinion": "Opinion", "event.note": "Note (optional)", "event.flags": "Flags", "event.readonly": "Your token allows reading alone.",
  "event.noclip": "No sound of this event was kept.", "event.noaudio": "Sound and spectrograms need a token with the scope “audio”.", "event.gone": "The nearest healthy recording is not at hand.",
  "event.odd": "The odd sound, from {start} s", "event.healthy": "The nearest healthy sound, {file}",
  "opinion.fault": "a fault", "opinion.no_fault": "no fault",
  "play.odd": "Play odd", "play.healthy": "Play healthy", "spectrogram.label": "Spectrogram: {title}",

  "action.acknowledge": "Acknowledge", "action.confirm": "It was a fault", "action.nofault": "No fault", "action.mute": "Mute this sound", "action.undo": "Undo", "action.pause": "Pause", "action.resume": "Resume", "action.rate": "Set false-alarm rate", "action.test": "Send test alarm",
  "acknowledge.title": "Acknowledge this event", "acknowledge.text": "Others see that somebody takes care of it.",
  "confirm.title": "It was a fault", "confirm.text": "This is kept with the event. The bank does not change.",
  "nofault.title": "No fault: take this sound as healthy", "nofault.text": "The sound goes into the bank of the machine and does not alarm any more. You can undo this.",
  "mute.title": "Mute this sound", "mute.text": "Sounds like this one are recorded and open no event.", "mute.for": "For how long", "mute.hour": "1 hour", "mute.shift": "8 hours", "mute.day": "1 day", "mute.change": "until the sound changes",
  "pause.title": "Pause alarms", "pause.text": "The machine is heard and scored, and does not alarm.", "pause.for": "For how long", "pause.quarter": "15 minutes", "pause.hour": "1 hour", "pause.shift": "8 hours", "pause.day": "1 day",
  "rate.title": "False-alarm rate", "rate.text": "The share of healthy windows that may be called anomalous. A smaller rate means fewer false alarms and faults that are found later.", "rate.label": "Rate in per cent",
  "undo.title": "Undo the last change of the bank", "undo.text": "The bank is again what it was before its last change, byte for byte.",
  "did.acknowledged": "Acknowledged", "did.confirmed": "Kept as a fault", "did.nofault": "Taken as healthy", "did.muted": "Muted", "did.undone": "Undone", "did.paused": "Paused", "did.resumed": "Alarms are on again", "did.rate": "The threshold was changed", "did.test": "Test alarm sent",

  "checkup.title": "Is the bank still good?", "checkup.ask": "Check now", "checkup.good": "The bank is as it was.", "checkup.look": "Something needs a look.", "checkup.toolittle": "Too little was heard to say.", "checkup.made": "Checked {time}", "checkup.next": "Next:",

  "story.title": "What was changed when", "story.none": "Nothing yet.", "story.revision": "Revision {revision}: {action}; {rows}, threshold {threshold}", "story.rows.one": "{n} window", "story.rows.other": "{n} windows",
  "note.acknowledge": "Acknowledged", "note.confirm": "Said to be a fault", "note.nofault": "Said to be no fault", "note.mute": "Muted", "note.undo": "Taken back", "note.pause": "Paused", "note.resume": "Resumed", "note.rate": "False-alarm rate set", "note.testalarm": "Test alarm sent",

  "recordings.one": "{n} recording", "recordings.other": "{n} recordings",
  "add.title": "Add a machine", "add.intro": "Record the machine while it is healthy, in every state in which it runs. A minute is a start, ten minutes are better.", "add.name": "Name of the machine", "add.begin": "Next: healthy sound", "add.more": "More settings",
  "add.window": "Length of a window in seconds", "add.windowhelp": "What is judged at once. 10 s suit most machines; machines with short cycles may take less.", "add.rate": "False-alarm rate in per cent", "add.usual": "5, or the smallest that is supported", "add.ratehelp": "It can be changed at any time.",
  "add.back": "All machines that are being added", "add.sound": "Healthy sound", "add.advice": "Use the microphone and the place that will listen later. Several recordings are better than one long one.", "add.files": "Choose files", "add.record": "Record", "add.stop": "Stop", "add.drop": "Or drop WAV, FLAC, Ogg or MP3 files here.",
  "add.https": "A browser records only over HTTPS or on the computer of the service.", "add.nomic": "The microphone cannot be used.", "add.large": "{file} is larger than {size}.", "add.sending.one": "sending {n} file", "add.sending.other": "sending {n} files",
  "add.play": "Play", "add.remove": "Remove", "add.drop1": "Remove {file}", "add.oddone": "unlike the others ({deviations} deviations)", "add.forget": "Discard", "add.close": "Close", "add.forgettitle": "Discard this machine?", "add.forgettext": "Its recordings are deleted.",
  "fit.title": "Fit", "fit.start": "Fit the machine", "fit.again": "Fit again", "fit.empty": "Add healthy sound first.", "fit.collecting": "Collecting sound", "fit.waiting": "Waiting for its turn", "fit.fitting": "Listening", "fit.done": "Fitted", "fit.failed": "Failed", "fit.progress": "{done} of {total} recordings",
  "fit.report": "The machine is ready", "fit.open": "Open the machine", "fit.noodd": "No recording stands out among the others.", "fit.odd.one": "{n} recording is unlike the others. Listen to it below; if it is not healthy, remove it and fit again.", "fit.odd.other": "{n} recordings are unlike the others. Listen to them below; remove what is not healthy and fit again.",

  "settings.title": "Settings", "settings.look": "Appearance", "settings.you": "Who you are", "settings.holder": "Logged in with the token “{name}”. It allows:", "settings.open": "Nobody needs a token here yet. You may:", "settings.service": "Service", "settings.docs": "The API, for programs",
  "sources.title": "Sources", "sources.intro": "What the service listens to by itself, and folders that it watches.", "sources.none": "No source yet; recordings come by upload alone.", "sources.new": "Add a source", "sources.nomachine": "Add a machine first.",
  "sources.machine": "Machine", "sources.kind": "Kind", "sources.mic": "microphone of the service’s computer", "sources.stream": "network stream", "sources.folder": "folder", "sources.address": "Address", "sources.name": "Name of the source", "sources.silence": "Seconds without sound that are an event (0: never)", "sources.schedule": "When it alarms (empty: always)", "sources.add": "Add it",
  "sources.remove": "Remove {name}", "sources.removetitle": "Remove {name}?", "sources.removetext": "The service does not listen there any more. What it heard stays.",
  "theme.title": "Colours", "theme.switch": "Switch between light and dark", "theme.system": "as the system", "theme.light": "light", "theme.dark": "dark",
  "tokens.title": "Tokens", "tokens.none": "There is no token yet, so everybody on this computer may do everything.", "tokens.new": "Make a token", "tokens.name": "What it is for", "tokens.scopes": "What it allows", "tokens.make": "Make it", "tokens.once": "This token is shown once. Keep it where only its user can read it.", "tokens.withdraw": "Withdraw", "tokens.withdrawtitle": "Withdraw “{name}”?", "tokens.withdrawtext": "Whoever uses it is logged out at once.",
  "scope.read": "see scores and events", "scope.upload": "send recordings", "scope.curate": "judge events, set the rate, pause", "scope.audio": "hear sound and see spectrograms", "scope.admin": "everything, and add machines and tokens",
  "service.version": "Version", "service.queue": "Recordings that wait", "service.changes": "Changes that wait", "service.clips": "Keeps the sound of events", "service.upload": "Largest recording",

  "docs.title": "The API", "docs.intro": "Every route names the scope that it needs. Send a token as “Authorization: Bearer TOKEN”.", "docs.login": "Log in on the page of the service first.", "docs.parameters": "Parameters", "docs.body": "Body", "docs.required": "required", "docs.raw": "OpenAPI document", "docs.back": "Machines", "docs.find": "Find a route",
};

const rules = new Intl.PluralRules(document.documentElement.lang || "en");

export function t(key, values = {}) {
  const text = STRINGS[key];
  if (text === undefined) { console.error(`no text for ${key}`); return key; }
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export const plural = (key, n) => t(`${key}.${rules.select(n) === "one" ? "one" : "other"}`, { n });
