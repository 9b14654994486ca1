// What plays several sounds in step and lets one through.

const FADE = 0.01; // s, of a switch
const DIP = 0.03; // s, down and up again: in a blind test every switch sounds alike

// The sounds as samples in memory, at the context's rate, all of one length.
class Buffers {
  constructor(context, buffers, gains) {
    const length = Math.max(...buffers.map(buffer => buffer.length));
    Object.assign(this, { context, gains, playing: [] });
    this.buffers = buffers.map(buffer => padded(context, buffer, length));
    this.duration = length / context.sampleRate;
  }
  start(position, loop, index, when = this.context.currentTime + 0.02) {
    this.stop();
    Object.assign(this, { when, offset: position, loop });
    this.playing = this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(this.context, { buffer });
      if (loop) [source.loop, source.loopStart, source.loopEnd] = [true, ...loop];
      const level = i === index ? this.gains[i] : 0;
      const gain = new GainNode(this.context, { gain: level });
      source.connect(gain).connect(this.context.destination);
      source.start(when, position);
      return { source, gain, level };
    });
  }
  stop() {
    for (const { source } of this.playing) source.stop();
    this.playing = [];
  }
  select(index, blind) {
    const now = this.context.currentTime;
    this.playing.forEach((track, i) => {
      const level = i === index ? this.gains[i] : 0;
      track.gain.gain.cancelScheduledValues(now);
      track.gain.gain.setValueAtTime(track.level, now);
      if (blind) {
        track.gain.gain.linearRampToValueAtTime(0, now + DIP);
        track.gain.gain.linearRampToValueAtTime(level, now + 2 * DIP);
      } else {
        track.gain.gain.linearRampToValueAtTime(level, now + FADE);
      }
      track.level = level;
    });
  }
  get position() {
    const at = this.offset + Math.max(0, this.context.currentTime - this.when);
    if (!this.loop || at < this.loop[1]) return Math.min(at, this.duration);
    const [from, to] = this.loop;
    return from + ((at - from) % (to - from));
  }
  peaks(columns) {
    const samples = this.buffers[0].getChannelData(0);
    return Array.from({ length: columns }, (_, column) => {
      const from = Math.floor((column * samples.length) / columns);
      const to = Math.max(from + 1, Math.floor(((column + 1) * samples.length) / columns));
      let peak = 0;
      for (let i = from; i < to; i += 1 + ((to - from) >> 8)) {
        peak = Math.max(peak, Math.abs(samples[i] || 0));
      }
      return peak;
    });
  }
}

function padded(context, buffer, length) {
  if (buffer.length === length) return buffer;
  const { numberOfChannels, sampleRate } = buffer;
  const longer = new AudioBuffer({ numberOfChannels, sampleRate, length });
  for (let channel = 0; channel < numberOfChannels; channel++) {
    longer.copyToChannel(buffer.getChannelData(channel), channel);
  }
  return longer;
}

// The same with the audio elements of the page, in step but for some milliseconds.
class Elements {
  constructor(elements, gains) {
    Object.assign(this, { elements, gains, loop: null, index: 0 });
    this.duration = Math.max(...elements.map(element => element.duration));
    this.peaks = null;
  }
  start(position, loop, index) {
    this.loop = loop;
    for (const element of this.elements) {
      element.pause();
      element.currentTime = Math.min(position, element.duration);
    }
    this.select(index, false);
    for (const element of this.elements) element.play();
  }
  stop() {
    for (const element of this.elements) element.pause();
  }
  select(index, blind) {
    this.index = index;
    this.elements.forEach((element, i) => {
      element.volume = Math.min(1, this.gains[i]);
      element.muted = i !== index;
    });
    // What is some milliseconds off would tell one sound from the other: begin anew.
    if (blind) this.start(this.loop ? this.loop[0] : 0, this.loop, index);
  }
  get position() {
    const at = Math.max(...this.elements.map(element => element.currentTime));
    if (this.loop && at >= this.loop[1]) this.start(this.loop[0], this.loop, this.index);
    return this.loop ? Math.min(at, this.loop[1]) : at;
  }
}

let context = null; // of all players on the page

async function load(elements, gains) {
  return location.protocol === "file:" ? inElements(elements, gains) : inMemory(elements, gains);
}

async function inMemory(elements, gains) {
  context ||= new AudioContext();
  const buffers = await Promise.all(elements.map(async element => {
    const answer = await fetch(element.src);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    return context.decodeAudioData(await answer.arrayBuffer());
  }));
  return new Buffers(context, buffers, gains);
}

async function inElements(elements, gains) {
  await Promise.all(elements.map(element => new Promise((resolve, reject) => {
    element.addEventListener("loadedmetadata", resolve, { once: true });
    element.addEventListener("error", reject, { once: true });
    element.preload = "auto";
    element.load();
  })));
  return new Elements(elements, gains);
}
