// The rules of wavenet/sampling.py and of the mixtures in wavenet/model/mixtures.py, in double precision:
// what a slider makes of a prediction. Pure functions; tests compare them with Python.
const LOG_SCALE_FLOOR = -11;
const HALF_CELL = 2 ** -25; // a uniform of 24 bits stands for the middle of its cell

const total = (values) => values.reduce((sum, value) => sum + value, 0);

function softmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const raised = logits.map((logit) => Math.exp(logit - top));
  const sum = total(raised);
  return raised.map((value) => value / sum);
}

// Logits (Float64Array) -> probabilities. Temperature; the k likeliest and what ties with the k-th;
// the likeliest whose probability before them is below p.
function reshape(logits, { temperature, topK, topP }) {
  let warm = logits.map((logit) => logit / temperature);
  if (topK && topK < warm.length) {
    const least = warm.slice().sort()[warm.length - topK];
    warm = warm.map((logit) => (logit < least ? -Infinity : logit));
  }
  const p = softmax(warm);
  if (!(topP < 1)) return p;
  const order = Array.from(p.keys()).sort((a, b) => p[b] - p[a]); // stable, as in Python
  const kept = new Float64Array(p.length);
  let sum = 0;
  for (const code of order) {
    sum += p[code];
    if (sum - p[code] < topP) kept[code] = p[code];
  }
  const rest = total(kept);
  return kept.map((value) => value / rest);
}

// The first class whose cumulative probability exceeds the uniform; never one of probability 0.
function draw(p, uniform) {
  const level = uniform * total(p);
  let sum = 0;
  let last = 0;
  for (let code = 0; code < p.length; code += 1) {
    sum += p[code];
    if (sum > level && p[code] > 0) return code;
    if (p[code] > 0) last = code;
  }
  return last;
}

// Numerical Recipes' erfc, to 1.2e-7 of itself.
function erfc(x) {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const series = [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806,
    0.09678418, 0.37409196, 1.00002368, -1.26551223].reduce((sum, c) => sum * t + c, 0);
  const value = t * Math.exp(-x * x + series);
  return x >= 0 ? value : 2 - value;
}

const CDFS = {
  'logistic-mixture': (x) => 1 / (1 + Math.exp(-x)),
  'gaussian-mixture': (x) => erfc(-x * Math.SQRT1_2) / 2,
};

// Params of a mixture (logits, means, log scales), warmed; gives the probability below a value.
function mixture(kind, params, temperature) {
  const parts = params.length / 3;
  const weights = softmax(Float64Array.from(params.slice(0, parts), (w) => w / temperature));
  const scale = (n) => Math.exp(Math.max(LOG_SCALE_FLOOR, params[2 * parts + n])) * temperature;
  const cdf = CDFS[kind];
  return (value) => total(weights.map((w, n) => w * cdf((value - params[parts + n]) / scale(n))));
}

// The probability of each cell that ends at an edge; the first and the last take the tails.
function cells(below, edges) {
  let before = 0;
  return edges.map((edge, n) => {
    const here = n === edges.length - 1 ? 1 : below(edge);
    const p = Math.max(0, here - before);
    before = here;
    return p;
  });
}

const bits = (p) => -Math.log2(p);
const entropy = (p) => total(p.map((value) => (value > 0 ? value * bits(value) : 0)));
