// The waveform so far and the distribution over the classes, as SVG; `data`, `at`, `shown` and
// `settings` are those of steps.js.
const SVG = 'http://www.w3.org/2000/svg';
const LEFT = 48; // room for the ordinates
const RIGHT = 20;
const TOP = 8;
const FLOOR = 1e-6; // where the log scale ends
const POWERS = { 1: '1', 1e-2: '10⁻²', 1e-4: '10⁻⁴', 1e-6: '10⁻⁶' };

function make(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// An empty picture as wide as its box, one unit a pixel.
function canvas(selector, height) {
  const picture = find(selector);
  const width = Math.max(240, picture.parentElement.clientWidth);
  picture.replaceChildren();
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
    picture.setAttribute(key, value);
  }
  return { picture, width, inner: width - LEFT - RIGHT };
}

let limit = 1; // of the linear scale

function signed(value) {
  const size = Math.abs(value);
  return `${value < 0 ? '−' : '+'}${size.toFixed(size >= 0.1 ? 2 : size >= 0.01 ? 3 : 4)}`;
}

const seconds = (sample) => `${(sample / data.rate).toFixed(3)} s`;

function drawWave() {
  const height = 104;
  const bottom = height - 16;
  const { picture, width, inner } = canvas('.wave', height);
  const length = data.waveform.length;
  const now = data.past + at;
  const middle = (TOP + bottom) / 2;
  const peak = Math.max(0.002, data.waveform.reduce((a, b) => Math.max(a, Math.abs(b)), 0));
  const x = (n) => LEFT + inner * (n + 0.5) / length;
  const y = (v) => middle - v / peak * (bottom - middle);
  const line = (values, from) => values.reduce((d, v, n) => `${d}${n ? 'L' : 'M'}${x(from + n).toFixed(1)} ${y(v).toFixed(1)}`, '');
  const seen = Math.max(0, now - data.reach);
  picture.append(
    make('rect', { class: 'seen', x: x(seen), y: TOP, width: Math.max(0, x(now) - x(seen)), height: bottom - TOP }),
    make('path', { class: 'axis', d: `M${LEFT} ${middle}H${width - RIGHT}` }),
    make('path', { class: 'line', d: line(Array.from(data.waveform.subarray(0, now + 1)), 0) }),
    make('path', { class: 'cursor', d: `M${x(now)} ${TOP}V${bottom}` }),
    make('circle', { class: 'dot', cx: x(now), cy: y(data.waveform[now]), r: 4 }),
    ...[[peak, TOP + 8], [0, middle + 4], [-peak, bottom]].map(([v, place]) => make('text',
      { class: 'end', x: LEFT - 6, y: place }, v ? signed(v) : '0')),
    make('text', { x: LEFT, y: height - 3 }, seconds(data.first - data.past)),
    make('text', { class: 'end', x: width - RIGHT, y: height - 3 }, seconds(data.first + data.count)),
  );
}

// The linear scale moves only when the curve leaves it or is lost in it, else it would never be still.
function ordinate(highest) {
  if (settings.log) {
    return { ticks: [1, 1e-2, 1e-4, 1e-6], share: (p) => 1 + Math.log10(Math.max(p, FLOOR)) / 6 };
  }
  if (highest > limit || highest < 0.4 * limit) {
    const rungs = [-3, -2, -1].flatMap((power) => [1, 1.2, 1.6, 2, 3, 4, 6, 8].map((n) => n * 10 ** power));
    limit = Number((rungs.find((rung) => rung >= 1.15 * highest) || 1).toPrecision(2));
  }
  return { ticks: [0, limit / 2, limit], share: (p) => p / limit };
}

function drawCurve() {
  const height = 262;
  const { picture, width, inner } = canvas('.curve', height);
  const { own, p, cell, again } = shown;
  const foot = height - 54;
  const { ticks, share } = ordinate(Math.max(...own, ...p));
  const x = (code) => LEFT + inner * code / p.length;
  const y = (v) => foot - Math.max(0, share(v)) * (foot - TOP - 6);
  const stairs = (values) => values.reduce((d, v, n) => `${d}V${y(v).toFixed(1)}H${x(n + 1).toFixed(1)}`, `M${LEFT} ${foot}`);
  const gaps = width < 520 ? 4 : 8;
  const codes = Array.from({ length: gaps + 1 }, (_, n) => Math.min(p.length - 1, n * p.length / gaps));
  picture.append(
    ...ticks.flatMap((v) => [make('path', { class: 'grid', d: `M${LEFT} ${y(v)}H${width - RIGHT}` }),
      make('text', { class: 'end', x: LEFT - 6, y: y(v) + 4 }, settings.log ? POWERS[v] : String(v))]),
    make('path', { class: 'bars', d: `${stairs(p)}V${foot}Z` }),
    make('path', { class: 'own', d: stairs(own) }),
    ...codes.flatMap((code) => [
      make('path', { class: 'axis', d: `M${x(code + 0.5)} ${foot}v4` }),
      make('text', { class: 'middle', x: x(code + 0.5), y: foot + 17 }, code),
      make('text', { class: 'middle', x: x(code + 0.5), y: foot + 32 },
        Math.abs(data.amplitudes[code]) < 1e-3 ? '0' : signed(data.amplitudes[code]))]),
    make('text', { class: 'middle', x: LEFT + inner / 2, y: height - 4 },
      data.isMixture ? 'cell of 8-bit mu-law, and its amplitude' : 'class, and its amplitude'),
    make('path', { class: 'drawn', d: `M${x(cell + 0.5)} ${TOP}V${foot}` }),
    make('circle', { class: 'dot', cx: x(cell + 0.5), cy: y(p[cell]), r: 4.5 }),
  );
  if (again !== null && again !== cell) {
    picture.append(make('circle', { class: 'again', cx: x(again + 0.5), cy: y(p[again]), r: 4.5 }));
  }
  picture.setAttribute('aria-label', `Probability of each of ${p.length} classes: ${sentence()}`);
}
