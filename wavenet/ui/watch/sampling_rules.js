// The rules of wavenet/sampling.py and of the mixtures in wavenet/model/mixtures.py, in double precision.
// They apply the sliders to a prediction. Pure functions; tests compare them with Python.
const LOG_SCALE_FLOOR = -11;
const HALF_CELL = 2 ** -25; // a 24-bit uniform represents the middle of its interval

const total = (values) => values.reduce((sum, value) => sum + value, 0);

function softmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const raised = logits.map((logit) => Math.exp(logit - top));
  const sum = total(raised);
  return raised.map((value) => value / sum);
}

// Logits (Float64Array) -> probabilities: temperature, then top-k (with ties of the k-th), then top-p
// (the most likely codes, as long as the probability of those before is below p).
function reshape(logits, { temperature, topK, topP }) {
  let scaled = logits.map((logit) => logit / temperature);
  if (topK && topK < scaled.length) {
    const least = scaled.slice().sort()[scaled.length - topK];
    scaled = scaled.map((logit) => (logit < least ? -Infinity : logit));
  }
  const p = softmax(scaled);
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

// Inverse CDF: the first class whose cumulative probability exceeds the uniform; never one of
// probability 0.
function selectCode(p, uniform) {
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

// Complementary error function of Numerical Recipes; relative error 1.2e-7.
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

// Params of a mixture (logits, means, log scales) and a temperature -> its CDF.
function mixtureCdf(kind, params, temperature) {
  const parts = params.length / 3;
  const weights = softmax(Float64Array.from(params.slice(0, parts), (w) => w / temperature));
  const scale = (n) => Math.exp(Math.max(LOG_SCALE_FLOOR, params[2 * parts + n])) * temperature;
  const cdf = CDFS[kind];
  return (value) => total(weights.map((w, n) => w * cdf((value - params[parts + n]) / scale(n))));
}

// Probability of each bin between two edges; the first and the last include the tails.
function binProbabilities(mixture, edges) {
  let before = 0;
  return edges.map((edge, n) => {
    const here = n === edges.length - 1 ? 1 : mixture(edge);
    const p = Math.max(0, here - before);
    before = here;
    return p;
  });
}

const surprise = (p) => -Math.log2(p); // bits
const entropy = (p) => total(p.map((value) => (value > 0 ? value * surprise(value) : 0))); // bits
