// The page of a machine: sound from a microphone or a WAV file to live scores, on this device alone.
import * as ort from "./vendor/ort.wasm.min.mjs";

const $ = (id) => document.getElementById(id);
const KEPT_SECONDS = 60; // of what the microphone heard, for "Save what was heard"
ort.env.wasm.wasmPaths = new URL("./vendor/", import.meta.url).href;
ort.env.wasm.numThreads = 1;

let facts, session, stop = null, heard = [], rate = 0, verdicts = [], queue = Promise.resolve();

const notice = (text) => { $("notice").textContent = text; $("notice").hidden = !text; };
const number = (x) => x.toPrecision(4);
const even = (x) => { const down = Math.floor(x), rest = x - down; return rest === 0.5 ? down + (down % 2) : Math.round(x); };

// Cuts blocks of samples into windows, each as soon as its samples are there, as run.py does.
class Windows {
  constructor() { this.held = new Float32Array(0); this.base = this.i = this.end = 0; }
  push(block, last = false) {
    const { period: P, outputs: Q, reach, hop_samples: hop, window_samples: size } = facts, cuts = [];
    const joined = new Float32Array(this.held.length + block.length);
    joined.set(this.held); joined.set(block, this.held.length);
    this.held = joined;
    const n = this.base + joined.length, total = Math.floor(n / (facts.sample_rate / facts.encoder_rate) + 0.5);
    const ready = last ? total : Math.floor((n - reach) / P) * Q;
    let begin;
    while ((begin = even(this.i * hop)) + size <= ready) { cuts.push([begin, size]); this.i++; this.end = begin + size; }
    if (last && Math.max(begin, this.end) < total) cuts.push([Math.max(0, total - size), Math.min(size, total)]);
    const fed = cuts.map(([at, count]) => this.fed(at, count, n));
    const next = Math.min(Math.floor(even(this.i * hop) / Q) * P, n - Math.floor(size * P / Q));
    const keep = Math.max(this.base, next - reach - 2 * P);
    this.held = this.held.slice(keep - this.base); this.base = keep;
    return fed;
  }
  fed(begin, count, n) {
    const { period: P, outputs: Q, reach, sample_rate, encoder_rate } = facts, block = Math.floor(begin / Q);
    const start = block * P - reach, stop = (block + Math.ceil((begin % Q + count) / Q)) * P + reach;
    const samples = new Float32Array(stop - start), from = Math.max(0, start);
    samples.set(this.held.subarray(from - this.base, stop - this.base), from - start);
    const inputs = { samples: new ort.Tensor("float32", samples, [samples.length]) };
    if (facts.resamples) {
      const whole = (...values) => new ort.Tensor("int64", BigInt64Array.from(values.map(BigInt)), [values.length]);
      const under = [begin, begin + count].map((at) => Math.min(even(at * (sample_rate / encoder_rate)), n) - start);
      Object.assign(inputs, { skip: whole(begin % Q), count: whole(count), under: whole(...under),
        first: new ort.Tensor("float32", Float32Array.of(begin < Q ? 1 : 0), [1]) });
    }
    return { start: begin / encoder_rate, seconds: count / encoder_rate, inputs };
  }
}

async function score({ start, seconds, inputs }) {
  const began = performance.now(), out = await session.run(inputs);
  const [file, from] = facts.rows[Number(out.nearest.data[0])];
  show({ start, seconds, score: out.score.data[0], p_value: out.p_value.data[0], decision: Number(out.decision.data[0]),
    nearest: file, nearest_start: from, odd: band(out), ms: performance.now() - began });
}

function band(out) { // the band that stands out, in words; empty where none does
  const [low, high, db] = ["odd_low_hz", "odd_high_hz", "odd_db"].map((name) => out[name].data[0]);
  return db ? `${Math.round(low)} to ${Math.round(high)} Hz, ${Math.abs(db).toFixed(1)} dB ${db > 0 ? "up" : "down"}` : "";
}

function show(verdict) {
  verdicts.push(verdict);
  $("score").textContent = number(verdict.score);
  $("score").className = verdict.decision ? "odd" : "fine";
  const share = facts.threshold > 0 ? verdict.score / facts.threshold / 2 : 0;
  $("bar").firstElementChild.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  $("said").textContent = `${verdict.decision ? "Anomalous" : "Healthy"}: threshold ${number(facts.threshold)}, ` +
    `${Math.round(verdict.ms)} ms per window`;
  $("odd").textContent = verdict.odd && `Odd band: ${verdict.odd}`;
  const row = $("rows").insertRow(0);
  for (const text of [`${verdict.start.toFixed(1)} s`, number(verdict.score), number(verdict.p_value), verdict.odd, verdict.nearest])
    row.insertCell().textContent = text;
  while ($("rows").rows.length > 50) $("rows").deleteRow(-1);
}

const enqueue = (windows) => { for (const one of windows) queue = queue.then(() => score(one)).catch(fail); return queue; };
const fail = (error) => { notice(error.message || String(error)); console.error(error); };
const begin = () => { verdicts = []; heard = []; $("rows").replaceChildren(); notice(""); };

function parse(buffer) { // samples of the channel of a WAV file, and its rate
  const view = new DataView(buffer);
  let at = 12, kind, channels, hz, bits;
  for (; at + 8 <= view.byteLength && view.getUint32(at) !== 0x64617461; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2))
    if (view.getUint32(at) === 0x666d7420) {
      [kind, channels, hz, bits] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true), view.getUint32(at + 12, true), view.getUint16(at + 22, true)];
      if (kind === 0xfffe) kind = view.getUint16(at + 32, true);
    }
  const read = { "1 16": (p) => view.getInt16(p, true) / 2 ** 15, "1 32": (p) => view.getInt32(p, true) / 2 ** 31, "3 32": (p) => view.getFloat32(p, true),
    "1 24": (p) => (view.getUint16(p, true) + view.getInt8(p + 2) * 65536) / 2 ** 23, "3 64": (p) => view.getFloat64(p, true) }[`${kind} ${bits}`];
  if (!read || at + 8 > view.byteLength) throw new Error("not a WAV file of 16, 24 or 32 bit");
  if (facts.channel >= channels) throw new Error(`the recording has ${channels} channels, this machine hears number ${facts.channel}`);
  const frame = channels * bits / 8, size = Math.min(view.getUint32(at + 4, true), view.byteLength - at - 8);
  return [Float32Array.from({ length: Math.floor(size / frame) }, (_, i) => read(at + 8 + i * frame + facts.channel * bits / 8)), hz];
}

async function scoreFile(file) {
  begin();
  const [samples, hz] = parse(await file.arrayBuffer());
  if (hz !== facts.sample_rate) throw new Error(`the recording has ${hz} Hz, this machine hears ${facts.sample_rate} Hz`);
  await enqueue(new Windows().push(samples, true));
}

const WORKLET = `registerProcessor("blocks", class extends AudioWorkletProcessor {
  process([input]) { if (input[0]) this.port.postMessage(input[0].slice()); return true; } });`;

async function listen() {
  begin();
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1, sampleRate: facts.sample_rate };
  const stream = await navigator.mediaDevices.getUserMedia({ audio }), [track] = stream.getAudioTracks(), set = track.getSettings();
  const context = new AudioContext({ sampleRate: facts.sample_rate });
  rate = context.sampleRate;
  const said = [];
  if (rate !== facts.sample_rate) {
    track.stop();
    await context.close();
    throw new Error(`This browser hears at ${rate} Hz, this machine at ${facts.sample_rate} Hz: export the package with --rate ${rate}.`);
  }
  if (!set.sampleRate)
    said.push(`This browser does not say at which rate the microphone runs. Where that is not ${facts.sample_rate} Hz, it resamples, which shifts scores.`);
  else if (set.sampleRate !== facts.sample_rate)
    said.push(`The microphone runs at ${set.sampleRate} Hz and the browser resamples it, which shifts scores: export the package with --rate ${set.sampleRate}.`);
  for (const name of ["echoCancellation", "noiseSuppression", "autoGainControl"])
    if (set[name]) said.push(`This browser does not switch off ${name}; scores are not comparable.`);
  notice(said.join(" "));
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" })));
  const node = new AudioWorkletNode(context, "blocks", { numberOfOutputs: 0 }), windows = new Windows();
  let gathered = [], count = 0, waiting = 0, silent = true;
  const flush = (last) => {
    const block = new Float32Array(count);
    count = 0;
    for (const part of gathered) { block.set(part, count); count += part.length; }
    heard.push(block);
    if (heard.length > 4 * KEPT_SECONDS) heard.shift();
    gathered = []; count = 0;
    const ready = windows.push(block, last);
    if (waiting > 3) return queue; // this device is slower than the sound: whole windows are dropped
    waiting += ready.length;
    return enqueue(ready).then(() => { waiting -= ready.length; });
  };
  node.port.onmessage = ({ data }) => {
    if (silent) { // a browser begins with zeros, which no microphone gives
      const first = data.findIndex((x) => x !== 0);
      if (first < 0) return;
      data = data.slice(first);
      silent = false;
    }
    gathered.push(data);
    count += data.length;
    if (count >= facts.sample_rate / 4) flush(false);
  };
  context.createMediaStreamSource(stream).connect(node);
  $("listen").textContent = "Stop";
  $("save").disabled = false;
  stop = async () => {
    stop = null;
    node.port.onmessage = null;
    track.stop();
    await context.close();
    await flush(true);
    $("listen").textContent = "Listen";
  };
}

function wav() { // what the microphone heard, as the graph was given it: 32-bit floating point
  const count = heard.reduce((sum, block) => sum + block.length, 0), view = new DataView(new ArrayBuffer(44 + 4 * count));
  const words = (at, text) => [...text].forEach((sign, i) => view.setUint8(at + i, sign.charCodeAt(0)));
  words(0, "RIFF"); view.setUint32(4, 36 + 4 * count, true); words(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 3, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 4 * rate, true);
  view.setUint16(32, 4, true); view.setUint16(34, 32, true); words(36, "data"); view.setUint32(40, 4 * count, true);
  let at = 44;
  for (const block of heard) for (const x of block) { view.setFloat32(at, x, true); at += 4; }
  return new Blob([view.buffer], { type: "audio/wav" });
}

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} is not there: copy the whole folder`);
  return answer.arrayBuffer();
}

async function open() {
  facts = JSON.parse(new TextDecoder().decode(await fetched("edge.json")));
  const graph = await fetched("machine.onnx");
  if (crypto.subtle) {
    const hash = [...new Uint8Array(await crypto.subtle.digest("SHA-256", graph))].map((x) => x.toString(16).padStart(2, "0")).join("");
    if (hash !== facts.files["machine.onnx"]) throw new Error("machine.onnx and edge.json do not belong together: copy the folder again");
  }
  session = await ort.InferenceSession.create(new Uint8Array(graph), { executionProviders: ["wasm"] });
  document.title = $("name").textContent = facts.machine;
  $("facts").textContent = `Windows of ${facts.window_seconds} s every ${facts.hop_seconds} s at ${facts.sample_rate} Hz; bank revision ${facts.revision}.`;
  if (!navigator.mediaDevices) notice("The microphone needs HTTPS (or localhost); files work.");
  $("listen").disabled = !navigator.mediaDevices;
  $("file").disabled = false;
  if ("serviceWorker" in navigator) await navigator.serviceWorker.register("worker.js");
}

$("listen").onclick = () => (stop ? stop() : listen()).catch(fail);
$("file").onchange = ({ target }) => target.files[0] && scoreFile(target.files[0]).catch(fail);
$("save").onclick = () => Object.assign(document.createElement("a"), { href: URL.createObjectURL(wav()), download: "heard.wav" }).click();
window.echobank = { verdicts: () => verdicts, wav, ready: open().then(() => true) };
window.echobank.ready.catch(fail);
