// A blind test: X is one of two sounds, and the listener has to say which.

const ROUNDS = 10;
const CONVINCING = 0.05;

// The probability of at least `right` right answers in `rounds` by guessing.
function chance(right, rounds) {
  let ways = 1; // to be right `k` times
  let sum = 0;
  for (let k = 0; k <= rounds; k++) {
    if (k >= right) sum += ways;
    ways = (ways * (rounds - k)) / (k + 1);
  }
  return sum / 2 ** rounds;
}

// A blind test: in each round X is one of two sounds, and nobody knows which.
class BlindTest {
  constructor(rounds = ROUNDS, random = Math.random) {
    Object.assign(this, { rounds, random, done: 0, right: 0 });
    this.toss();
  }
  toss() {
    this.x = this.random() < 0.5 ? 0 : 1;
  }
  answer(choice) {
    if (this.over) return;
    this.right += choice === this.x ? 1 : 0;
    this.done += 1;
    this.toss();
  }
  get over() {
    return this.done >= this.rounds;
  }
  verdict() {
    const p = chance(this.right, this.rounds);
    const heard = p < CONVINCING
      ? "You hear the difference."
      : "That is no proof that you hear a difference.";
    return `${this.right} of ${this.rounds} right. ${heard} By guessing, as many or more come ` +
      `about with a probability of ${p.toFixed(3)}.`;
  }
}
