// Decodes latents to a WAV file with onnxruntime alone: no Python, no PyTorch, no Lacuna.
//
//     lacuna export small --out graphs/
//     lacuna encode song.wav song.safetensors
//     npm install onnxruntime-node
//     node decode_latents.js graphs/ song.safetensors out.wav
// In a browser: onnxruntime-web, and the same lines but for reading and writing files.

const fs = require("fs"), path = require("path"), ort = require("onnxruntime-node");

// A safetensors file: the length of a JSON header, the header, and the tensors' bytes.
function readLatents(file) {
  const bytes = fs.readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, start));
  const { shape, data_offsets: [first, last] } = header.latents;
  const data = Uint8Array.from(bytes.subarray(start + first, start + last));  // aligned
  return { shape, values: new Float32Array(data.buffer), facts: header.__metadata__ };
}

// What a spectral map's decoder makes up: phases, in turns from 0 to 1, and unit Gaussian noise.
function draw(name, shape) {
  const length = shape.reduce((a, b) => a * b), uniform = () => 1 - Math.random();
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const values = Float32Array.from({ length }, name === "noise" ? normal : uniform);
  return new ort.Tensor("float32", values, shape);
}

function writeWav(file, channels, sampleRate) {  // of 32-bit floats
  const count = channels.length, size = 4 * count * channels[0].length;
  const header = Buffer.from("RIFF    WAVEfmt " + " ".repeat(20) + "data    ");
  [[4, 36 + size], [16, 16], [20, 3 | (count << 16)], [24, sampleRate],
    [28, 4 * count * sampleRate], [32, 4 * count | (32 << 16)], [40, size]]
    .forEach(([at, word]) => header.writeUInt32LE(word, at));
  const samples = Float32Array.from({ length: size / 4 },
    (_, i) => channels[i % count][Math.floor(i / count)]);
  fs.writeFileSync(file, Buffer.concat([header, Buffer.from(samples.buffer)]));
}

async function main([graphs, source, target]) {
  const model = JSON.parse(fs.readFileSync(path.join(graphs, "model.json")));
  const { shape, values, facts } = readLatents(source);
  if (facts.latent_id !== model.latent_id) throw new Error(`made with the model ${facts.model}`);
  const [batch, , frames] = shape, sizes = { batch, frames, time: frames * model.hop_length };
  const inputs = { z: new ort.Tensor("float32", values, shape) };
  for (const [name, dims] of Object.entries(model.graphs.decoder.inputs))
    inputs[name] ??= draw(name, dims.map((size) => sizes[size] ?? size));
  const session = await ort.InferenceSession.create(path.join(graphs, "decoder.onnx"));
  const { waveform } = await session.run(inputs);
  const [items, perItem, time] = waveform.dims;  // an item for each coded channel
  const length = Math.min(time, Math.round(facts.samples * model.sample_rate / facts.sample_rate));
  const rows = Array.from({ length: items * perItem },
    (_, row) => waveform.data.slice(row * time, row * time + length));
  if (rows.length === 2 && model.stereo === "mid_side")
    for (let t = 0; t < length; t++)
      [rows[0][t], rows[1][t]] = [rows[0][t] + rows[1][t], rows[0][t] - rows[1][t]];
  writeWav(target, rows, model.sample_rate);
}

main(process.argv.slice(2)).catch((error) => { console.error(error.message); process.exit(1); });
