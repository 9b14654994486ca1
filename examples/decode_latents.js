// Decodes latents to a WAV file with onnxruntime alone: no Python, no PyTorch, no Lacuna.
//
//     lacuna export small --out graphs/
//     lacuna encode song.wav song.safetensors
//     npm install onnxruntime-node
//     node decode_latents.js graphs/ song.safetensors out.wav
//
// The same lines run in a browser with onnxruntime-web, but for reading and writing files.

const fs = require("fs");
const path = require("path");
const ort = require("onnxruntime-node");

// A safetensors file: the length of a JSON header, the header, and the tensors' bytes.
function readLatents(file) {
  const bytes = fs.readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, start));
  const { shape, data_offsets: [first, last] } = header.latents;
  const data = new Uint8Array(bytes.subarray(start + first, start + last));  // a copy, aligned
  return { shape, values: new Float32Array(data.buffer), facts: header.__metadata__ };
}

// Left and right of what a model codes of a stereo sound; others are coded channel by channel.
function toChannels(rows, stereo) {
  if (rows.length !== 2 || stereo !== "mid_side") return rows;
  const [mid, side] = rows;
  return [mid.map((m, i) => m + side[i]), mid.map((m, i) => m - side[i])];
}

function writeWav(file, channels, sampleRate) {
  const frames = channels[0].length, size = 2 * channels.length * frames;
  const wav = Buffer.alloc(44 + size);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + size, 4);
  wav.write("WAVEfmt ", 8);
  [16, 1 | (channels.length << 16), sampleRate, 2 * channels.length * sampleRate,
    2 * channels.length | (16 << 16)].forEach((word, i) => wav.writeUInt32LE(word, 16 + 4 * i));
  wav.write("data", 36);
  wav.writeUInt32LE(size, 40);
  for (let t = 0, at = 44; t < frames; t++)
    for (const channel of channels) {
      const sample = Math.round(32767 * channel[t]);
      at = wav.writeInt16LE(Math.max(-32768, Math.min(32767, sample)), at);
    }
  fs.writeFileSync(file, wav);
}

async function main([graphs, source, target]) {
  const model = JSON.parse(fs.readFileSync(path.join(graphs, "model.json")));
  const { shape, values, facts } = readLatents(source);
  if (facts.latent_id !== model.latent_id) throw new Error(`made with the model ${facts.model}`);
  const session = await ort.InferenceSession.create(path.join(graphs, "decoder.onnx"));
  const { waveform } = await session.run({ z: new ort.Tensor("float32", values, shape) });
  const [items, perItem, time] = waveform.dims;  // an item for each coded channel
  const length = Math.min(time, Math.round(facts.samples * model.sample_rate / facts.sample_rate));
  const rows = Array.from({ length: items * perItem }, (_, row) =>
    waveform.data.slice(row * time, row * time + length));
  writeWav(target, toChannels(rows, model.stereo), model.sample_rate);
}

main(process.argv.slice(2)).catch((error) => { console.error(error.message); process.exit(1); });
