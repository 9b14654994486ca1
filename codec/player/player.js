// <lacuna-player>: several sounds in step, one of them heard; a loop, matched levels, a blind test.
//
// html.py writes its content, figures with pictures and a sound each, and joins this file with
// blind_test.js and engines.js.

let sounding = null; // the one player on the page that plays

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

class LacunaPlayer extends HTMLElement {
  connectedCallback() {
    if (this.figures) return;
    this.figures = [...this.querySelectorAll("figure")];
    this.names = this.figures.map(figure => figure.querySelector("figcaption").textContent);
    this.elements = this.figures.map(figure => figure.querySelector("audio"));
    Object.assign(this, { index: 0, at: 0, region: null, engine: null, test: null });
    this.classList.add("scripted");
    this.build();
    this.show();
    if (this.hasAttribute("ready")) this.loaded();
  }

  disconnectedCallback() {
    this.pause();
  }

  // -- what is seen ---------------------------------------------------------------------------

  build() {
    this.button = make("button", { title: "Space", onclick: () => this.toggle() }, "Play");
    this.clock = make("span", { className: "clock" });
    this.told = make("span", { className: "told", role: "status" });
    const box = onchange => make("input", { type: "checkbox", checked: true, onchange });
    [this.matched, this.looped] = [box(() => this.level()), box(() => this.again())];
    this.choices = this.figures.map((_, i) =>
      make("button", { title: this.names[i], onclick: () => this.select(i) }, `${i + 1}`));
    this.trial = make("button", { onclick: () => this.blind() }, "Blind test");
    const several = this.figures.length > 1;
    this.canvas = make("canvas", { title: "Click to go there, drag to mark a part" });
    const wave = make("div", { className: "wave" }, this.canvas);
    this.panel = make("div", { className: "blind", hidden: true });
    this.prepend(
      make("div", { className: "transport" }, this.button, ...(several ? this.choices : []),
        make("label", {}, this.looped, " again and again"),
        ...(several ? [make("label", {}, this.matched, " equally loud"), this.trial] : []),
        this.clock, this.told),
      wave, this.panel,
    );
    this.figures.forEach((figure, i) => {
      figure.querySelector(".pictures").addEventListener("click", event => {
        if (!this.test) this.select(i);
        this.seek(fraction(event, event.currentTarget) * this.length);
      });
    });
    this.addEventListener("keydown", event => this.key(event));
    this.canvas.addEventListener("pointerdown", event => this.mark(event));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  show() {
    this.button.textContent = this.running ? "Pause" : "Play";
    this.figures.forEach((figure, i) =>
      figure.classList.toggle("heard", !this.test && i === this.index));
    this.choices.forEach((choice, i) => {
      choice.setAttribute("aria-pressed", !this.test && i === this.index);
      choice.disabled = Boolean(this.test);
    });
    this.trial.disabled = Boolean(this.test);
    this.where();
    this.draw();
  }

  // The clock, and the line over the pictures.
  where() {
    this.clock.textContent = this.engine ? `${clock(this.at)} of ${clock(this.length)}` : "";
    this.style.setProperty("--at", this.length ? this.at / this.length : 0);
  }

  draw() {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    if (canvas.width !== width) {
      [canvas.width, canvas.height, this.peaks] = [width, height, null];
    }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    if (!this.engine) return;
    if (this.engine.peaks) this.peaks ||= this.engine.peaks(width);
    const x = seconds => (seconds / this.length) * width;
    if (this.region) {
      pen.fillStyle = "#d55e0055";
      pen.fillRect(x(this.region[0]), 0, x(this.region[1]) - x(this.region[0]), height);
    }
    pen.fillStyle = getComputedStyle(this).color;
    (this.peaks || []).forEach((peak, column) => {
      const reach = Math.max(1, peak * height * 0.95);
      pen.fillRect(column, (height - reach) / 2, 1, reach);
    });
  }

  // -- what is heard --------------------------------------------------------------------------

  get length() {
    return this.engine ? this.engine.duration : 0;
  }

  get loop() {
    return this.looped.checked ? this.region || [0, this.length] : null;
  }

  gains() {
    return this.figures.map(figure =>
      this.matched.checked ? 10 ** (Number(figure.dataset.gain) / 20) : 1);
  }

  async loaded() {
    this.loading ||= load(this.elements, this.gains());
    try {
      this.engine ||= await this.loading;
      this.classList.toggle("plain", !this.engine.peaks);
      this.told.textContent = "";
      this.show();
    } catch (error) {
      this.loading = null;
      this.told.textContent = `The sounds cannot be loaded: ${error.message || "unreadable"}.`;
    }
    return this.engine;
  }

  async toggle() {
    if (this.running) this.pause();
    else await this.play();
  }

  async play() {
    this.told.textContent = this.engine ? "" : "loading";
    if (!await this.loaded()) return;
    if (sounding && sounding !== this) sounding.pause();
    sounding = this;
    await context?.resume();
    if (!this.loop && this.at >= this.length) this.at = 0;
    this.running = true;
    this.again();
    this.tick();
  }

  pause() {
    if (!this.running) return;
    this.running = false;
    this.engine.stop();
    cancelAnimationFrame(this.frame);
    this.show();
  }

  // Begin playing where it is, with the loop and levels that are set now.
  again() {
    if (!this.running) return this.show();
    const [from, to] = this.loop || [0, this.length];
    if (this.at < from || this.at >= to) this.at = from;
    this.engine.start(this.at, this.loop, this.index);
    this.show();
  }

  tick() {
    if (!this.running) return;
    this.at = this.engine.position;
    if (!this.loop && this.at >= this.length) return this.pause();
    this.where();
    this.frame = requestAnimationFrame(() => this.tick());
  }

  select(index) {
    this.index = index;
    if (this.running) this.engine.select(index, Boolean(this.test));
    this.show();
  }

  seek(seconds) {
    if (!this.engine) return;
    this.at = Math.max(0, Math.min(seconds, this.length));
    const [from, to] = this.region || [0, Infinity];
    if (this.at < from || this.at >= to) this.setRegion(null);
    this.again();
  }

  level() {
    if (this.engine) this.engine.gains = this.gains();
    this.select(this.index);
  }

  key(event) {
    const i = Number(event.key) - 1;
    if (event.key === " " && event.target.tagName !== "BUTTON") this.toggle();
    else if (!this.test && i >= 0 && i < this.figures.length) this.select(i);
    else return;
    event.preventDefault();
  }

  // -- a part that is marked ------------------------------------------------------------------

  mark(event) {
    if (!this.engine) return void this.loaded();
    const begin = fraction(event, this.canvas) * this.length;
    this.canvas.setPointerCapture(event.pointerId);
    let moved = false;
    const move = next => {
      const end = fraction(next, this.canvas) * this.length;
      moved ||= Math.abs(next.clientX - event.clientX) > 3;
      if (moved) this.setRegion([Math.min(begin, end), Math.max(begin, end)], false);
    };
    this.canvas.onpointermove = move;
    this.canvas.onpointerup = next => {
      move(next);
      this.canvas.onpointermove = this.canvas.onpointerup = null;
      if (moved) this.setRegion(this.region);
      else this.seek(begin);
    };
  }

  // A part (from, to) in seconds, or null; `final` tells others and plays it.
  setRegion(region, final = true) {
    this.region = region && region[1] > region[0] ? region : null;
    if (!final) return this.draw();
    this.dispatchEvent(new CustomEvent("region", { detail: this.region, bubbles: true }));
    if (this.region) this.at = this.region[0];
    this.again();
  }

  // -- the blind test -------------------------------------------------------------------------

  blind() {
    const pick = chosen => {
      const options = this.names.map((name, i) =>
        make("option", { value: i, selected: i === chosen }, name));
      return make("select", {}, ...options);
    };
    const pair = [pick(0), pick(1)];
    const begin = () => {
      this.pair = pair.map(select => Number(select.value));
      if (this.pair[0] === this.pair[1]) return;
      this.test = new BlindTest();
      this.ask(0);
      this.play();
    };
    const start = make("button", { onclick: begin }, `Begin ${ROUNDS} rounds`);
    this.panel.hidden = false;
    this.panel.replaceChildren(
      make("div", {}, "Can you tell them apart? A is ", pair[0], " B is ", pair[1], start));
  }

  // `heard`: 0 for A, 1 for B, 2 for X.
  ask(heard) {
    const listen = which => {
      this.select(this.pair[which === 2 ? this.test.x : which]);
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === which));
    };
    const buttons = ["A", "B", "X"].map((name, i) =>
      make("button", { onclick: () => listen(i) }, name));
    const answers = ["X is A", "X is B"].map((text, i) =>
      make("button", { onclick: () => this.answer(i) }, text));
    const stop = make("button", { onclick: () => this.finish("Stopped.") }, "Stop the test");
    const { done, rounds } = this.test;
    this.panel.replaceChildren(
      make("div", {}, `Round ${done + 1} of ${rounds}. Listen to `, ...buttons,
        " and say what X is: ", ...answers),
      make("div", {}, stop));
    listen(heard);
  }

  answer(choice) {
    this.test.answer(choice);
    if (this.test.over) {
      const [a, b] = this.pair.map(i => this.names[i]);
      this.finish(`${this.test.verdict()} (A: ${a}; B: ${b})`);
    } else {
      this.ask(2);
    }
  }

  finish(text) {
    this.test = null;
    this.pause();
    this.panel.replaceChildren(make("div", { className: "verdict", role: "status" }, text));
    this.show();
  }
}

function fraction(event, element) {
  const box = element.getBoundingClientRect();
  return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
}

customElements.define("lacuna-player", LacunaPlayer);
window.Lacuna = { Buffers, Elements, BlindTest, chance };
