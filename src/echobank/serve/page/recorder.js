// Records a microphone as it is: no gain control, no noise suppression, no echo cancellation. Hands over WAV files.

const PART_SECONDS = 300; // a long recording comes in parts, so that none is too large to be taken

export const canRecord = () => !!navigator.mediaDevices?.getUserMedia && !!globalThis.AudioWorkletNode;

export async function record(onLevel, onPart) {
  const wanted = { channelCount: 1, autoGainControl: false, noiseSuppression: false, echoCancellation: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
  const audio = new AudioContext(), source = audio.createMediaStreamSource(stream);
  await audio.audioWorklet.addModule("page/recorder-worklet.js");
  const node = new AudioWorkletNode(audio, "recorder", { numberOfOutputs: 0 });
  let blocks = [], samples = 0, total = 0;
  const hand = () => { if (samples) onPart(wav(blocks, samples, audio.sampleRate)); blocks = []; samples = 0; };
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    samples += data.length;
    total += data.length;
    onLevel(Math.sqrt(data.reduce((sum, v) => sum + v * v, 0) / data.length), total / audio.sampleRate);
    if (samples >= PART_SECONDS * audio.sampleRate) hand();
  };
  source.connect(node);
  return async () => {
    source.disconnect();
    for (const track of stream.getTracks()) track.stop();
    await audio.close();
    hand();
  };
}

function wav(blocks, count, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, sign) => { for (let i = 0; i < sign.length; i++) view.setUint8(at + i, sign.charCodeAt(i)); };
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const block of blocks) for (const value of block) { view.setInt16(at, Math.max(-1, Math.min(1, value)) * 32767, true); at += 2; }
  return new Blob([view.buffer], { type: "audio/wav" });
}
