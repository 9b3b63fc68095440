// The waveform, the predictions at the cursor and the surprise over time, as SVG. `data`, `current`,
// `marked` and `find` are those of prediction_view.js.
const LEFT = 40; // width of the tick labels
const RIGHT = 8;
const TOP = 6;
const ZOOM_CODES = 64;
const CHART = { width: 150, height: 64 }; // units of a small chart

// Clears an SVG and sets its size, one unit per pixel.
function resetSvg(selector, height) {
  const svg = find(selector);
  const width = Math.max(240, innerWidth(svg.parentElement));
  svg.replaceChildren();
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(key, value);
  return { svg, width, x: (n) => LEFT + (width - LEFT - RIGHT) * (n + 0.5) / data.count };
}

const linePath = (values, x, y) => values.reduce((d, v, n) => `${d}${n ? 'L' : 'M'}${x(n).toFixed(1)} ${y(v).toFixed(1)}`, '');
const formatTime = (n) => `${((data.first + n) / data.rate).toFixed(4)} s`;

function timeLabels(width, height) {
  return [makeSvg('text', { x: LEFT, y: height - 2 }, formatTime(0)),
    makeSvg('text', { class: 'end', x: width - RIGHT, y: height - 2 }, formatTime(data.count))];
}

function drawWaveform() {
  const height = 90;
  const bottom = height - 16;
  const { svg, width, x } = resetSvg('.waveform', height);
  const middle = (TOP + bottom) / 2;
  const peak = Math.max(0.002, data.waveform.reduce((a, b) => Math.max(a, Math.abs(b)), 0));
  const y = (v) => middle - v / peak * (bottom - middle);
  svg.append(makeSvg('path', { class: 'axis', d: `M${LEFT} ${middle}H${width - RIGHT}` }),
    makeSvg('path', { class: 'line', d: linePath(Array.from(data.waveform), x, y) }),
    makeSvg('path', { class: 'cursor', d: `M${x(0)} ${TOP}V${bottom}` }),
    makeSvg('text', { class: 'end', x: LEFT - 6, y: middle + 4 }, '0'), ...timeLabels(width, height));
}

// Means of the surprise of a member over `size` samples around each sample.
function smoothed(surprise, size) {
  const sums = new Float64Array(surprise.length + 1);
  surprise.forEach((value, n) => { sums[n + 1] = sums[n] + value; });
  return Array.from(surprise, (_, n) => {
    const from = Math.max(0, n - Math.floor((size - 1) / 2));
    const to = Math.min(surprise.length, n + Math.floor(size / 2) + 1);
    return (sums[to] - sums[from]) / (to - from);
  });
}

function drawSurprise(size) {
  const height = 220;
  const bottom = height - 18;
  const { svg, width, x } = resetSvg('.surprise', height);
  const lines = data.members.map((member) => smoothed(member.surprise, size));
  // Samples to which a member gives almost no probability would hide all other differences.
  const limit = 1.5 * Math.log2(data.classes);
  const highest = Math.min(limit, Math.max(1, ...lines.map((line) => line.reduce((a, b) => Math.max(a, b), 0))));
  const step = [0.5, 1, 2, 5, 10].find((n) => highest / n <= 6) ?? 20;
  const y = (v) => bottom - Math.min(1, v / highest) * (bottom - TOP);
  for (let value = 0; value <= highest; value += step) {
    svg.append(makeSvg('path', { class: 'grid', d: `M${LEFT} ${y(value)}H${width - RIGHT}` }),
      makeSvg('text', { class: 'end', x: LEFT - 6, y: y(value) + 4 }, value));
  }
  lines.forEach((line, n) => {
    const isOther = marked !== null && marked !== n;
    svg.append(makeSvg('path', { class: `line${isOther ? ' other' : ''}`, stroke: memberColour(data.members[n].colour), d: linePath(line, x, y) }));
  });
  svg.append(makeSvg('path', { class: 'cursor', d: `M${x(0)} ${TOP}V${bottom}` }), ...timeLabels(width, height));
  const means = data.members.map((member) => `${member.title} ${member.bits.toFixed(2)}`);
  svg.setAttribute('aria-label', `Surprise over time. Mean bits per sample: ${means.join(', ')}.`);
}

// Builds one small chart per member; a press marks its line of the surprise.
function buildCharts() {
  find('.charts').replaceChildren(...data.members.map((member, n) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.chart = n;
    const [name, bits, key] = ['div', 'div', 'i'].map((tag) => document.createElement(tag));
    name.className = 'name';
    bits.className = 'bits';
    key.style.background = memberColour(member.colour);
    name.append(key, member.title);
    button.append(name, makeSvg('svg', { viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }), bits);
    return button;
  }));
}

// Probabilities of all codes by a member at the cursor. The charts have one scale, that of the
// largest probability that is visible.
function probabilities(n) {
  const { classes, count } = data;
  const begin = (n * count + current) * classes;
  const unit = data.members[n].peaks[current] / 255;
  return Float64Array.from(data.levels.subarray(begin, begin + classes), (level) => level * unit);
}

function drawCharts(isZoomed) {
  const code = data.codes[current];
  const { width, height } = CHART;
  const [from, to] = isZoomed ? [code - ZOOM_CODES / 2, code + ZOOM_CODES / 2] : [0, data.classes];
  const x = (c) => width * (c - from) / (to - from);
  const rows = data.members.map((_, n) => probabilities(n));
  const highest = Math.max(...rows.flatMap((p) => [...p.subarray(Math.max(0, from), to)]), 1e-9);
  const y = (p) => height - 2 - p / highest * (height - 6);
  data.members.forEach((member, n) => {
    const p = rows[n];
    let area = `M${x(from)} ${height - 2}`;
    for (let c = from; c < to; c += 1) area += `V${y(p[c] ?? 0).toFixed(1)}H${x(c + 1).toFixed(1)}`;
    const button = find(`[data-chart="${n}"]`);
    button.setAttribute('aria-pressed', String(marked === n));
    button.querySelector('svg').replaceChildren(
      makeSvg('path', { class: 'area', style: `fill: ${memberColour(member.colour)}`, d: `${area}V${height - 2}Z` }),
      makeSvg('path', { class: 'recorded', d: `M${x(code + 0.5)} 2V${height - 2}` }));
    button.querySelector('.bits').textContent = `${member.surprise[current].toFixed(2)} bits, p = ${p[code].toPrecision(2)}; mean ${member.bits.toFixed(2)}`;
  });
}
