// The waveform so far and the predicted probabilities, as SVG. `data`, `current`, `prediction` and
// `settings` are those of step_viewer.js.
const LEFT = 64; // width of the tick labels
const RIGHT = 24;
const TOP = 8;
const FLOOR = 1e-6; // lowest probability of the log scale
const POWERS = { 1: '1', 1e-2: '10⁻²', 1e-4: '10⁻⁴', 1e-6: '10⁻⁶' };

// Clears an SVG and sets its width to that of its parent, one unit per pixel.
function resetSvg(selector, height) {
  const svg = find(selector);
  const width = Math.max(240, svg.parentElement.clientWidth);
  svg.replaceChildren();
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
    svg.setAttribute(key, value);
  }
  return { svg, width, inner: width - LEFT - RIGHT };
}

let limit = 1; // upper end of the linear scale

function formatSigned(value) {
  const size = Math.abs(value);
  return `${value < 0 ? '−' : '+'}${size.toFixed(size >= 0.1 ? 2 : size >= 0.01 ? 3 : 4)}`;
}

const formatSeconds = (sample) => `${(sample / data.rate).toFixed(3)} s`;

function drawWaveform() {
  const height = 104;
  const bottom = height - 16;
  const { svg, width, inner } = resetSvg('.waveform', height);
  const length = data.waveform.length;
  const now = data.context + current;
  const middle = (TOP + bottom) / 2;
  const peak = Math.max(0.002, data.waveform.reduce((a, b) => Math.max(a, Math.abs(b)), 0));
  const x = (n) => LEFT + inner * (n + 0.5) / length;
  const y = (v) => middle - v / peak * (bottom - middle);
  const line = (values, from) => values.reduce((d, v, n) => `${d}${n ? 'L' : 'M'}${x(from + n).toFixed(1)} ${y(v).toFixed(1)}`, '');
  const oldest = Math.max(0, now - (data.receptiveField ?? now));
  svg.append(
    makeSvg('rect', { class: 'field', x: x(oldest), y: TOP, width: Math.max(0, x(now) - x(oldest)), height: bottom - TOP }),
    makeSvg('path', { class: 'axis', d: `M${LEFT} ${middle}H${width - RIGHT}` }),
    makeSvg('path', { class: 'line', d: line(Array.from(data.waveform.subarray(0, now + 1)), 0) }),
    makeSvg('path', { class: 'cursor', d: `M${x(now)} ${TOP}V${bottom}` }),
    makeSvg('circle', { class: 'dot', cx: x(now), cy: y(data.waveform[now]), r: 4 }),
    ...[[peak, TOP + 8], [0, middle + 4], [-peak, bottom]].map(([v, position]) => makeSvg('text',
      { class: 'end', x: LEFT - 6, y: position }, v ? formatSigned(v) : '0')),
    makeSvg('text', { x: LEFT, y: height - 3 }, formatSeconds(data.first - data.context)),
    makeSvg('text', { class: 'end', x: width - RIGHT, y: height - 3 }, formatSeconds(data.first + data.count)),
  );
}

// The linear scale changes only if the curve leaves it or becomes too small; otherwise it would flicker.
function probabilityScale(highest) {
  if (settings.log) {
    return { ticks: [1, 1e-2, 1e-4, 1e-6], share: (p) => 1 + Math.log10(Math.max(p, FLOOR)) / 6 };
  }
  if (highest > limit || highest < 0.4 * limit) {
    const limits = [-3, -2, -1].flatMap((power) => [1, 1.2, 1.6, 2, 3, 4, 6, 8].map((n) => n * 10 ** power));
    limit = Number((limits.find((n) => n >= 1.15 * highest) || 1).toPrecision(2));
  }
  return { ticks: [0, limit / 2, limit], share: (p) => p / limit };
}

function drawProbabilities() {
  const height = 262;
  const { svg, width, inner } = resetSvg('.probabilities', height);
  const { original, p, bin, resampled } = prediction;
  const bottom = height - 54;
  const { ticks, share } = probabilityScale(Math.max(...original, ...p));
  const x = (code) => LEFT + inner * code / p.length;
  const y = (v) => bottom - Math.max(0, share(v)) * (bottom - TOP - 6);
  const staircase = (values) => values.reduce((d, v, n) => `${d}V${y(v).toFixed(1)}H${x(n + 1).toFixed(1)}`, `M${LEFT} ${bottom}`);
  const intervals = width < 520 ? 4 : 8;
  const codes = Array.from({ length: intervals + 1 }, (_, n) => Math.min(p.length - 1, n * p.length / intervals));
  svg.append(
    ...ticks.flatMap((v) => [makeSvg('path', { class: 'grid', d: `M${LEFT} ${y(v)}H${width - RIGHT}` }),
      makeSvg('text', { class: 'end', x: LEFT - 6, y: y(v) + 4 }, settings.log ? POWERS[v] : String(v))]),
    makeSvg('path', { class: 'reshaped', d: `${staircase(p)}V${bottom}Z` }),
    makeSvg('path', { class: 'original', d: staircase(original) }),
    ...codes.flatMap((code) => [
      makeSvg('path', { class: 'axis', d: `M${x(code + 0.5)} ${bottom}v4` }),
      makeSvg('text', { class: 'middle', x: x(code + 0.5), y: bottom + 17 }, code),
      makeSvg('text', { class: 'middle', x: x(code + 0.5), y: bottom + 32 },
        Math.abs(data.amplitudes[code]) < 1e-3 ? '0' : formatSigned(data.amplitudes[code]))]),
    makeSvg('text', { class: 'middle', x: LEFT + inner / 2, y: height - 4 },
      data.isMixture ? 'bin of 8-bit mu-law, and its amplitude' : 'code, and its amplitude'),
    makeSvg('path', { class: 'actual', d: `M${x(bin + 0.5)} ${TOP}V${bottom}` }),
    makeSvg('circle', { class: 'dot', cx: x(bin + 0.5), cy: y(p[bin]), r: 4.5 }),
  );
  if (resampled !== null && resampled !== bin) {
    svg.append(makeSvg('circle', { class: 'resampled', cx: x(resampled + 0.5), cy: y(p[resampled]), r: 4.5 }));
  }
  svg.setAttribute('aria-label', `Probability of each of ${p.length} ${data.isMixture ? 'bins' : 'codes'}: ${describeStep()}`);
}
