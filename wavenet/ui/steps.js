// The slow motion. `element`, `props` and `watch` come from gr.HTML; messages are made in steps.py,
// the rules of sampling are in reshape.js, the pictures in curve.js and heat.js.
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;

let data = null;
let at = 0; // the step in view
let shown = null; // what is known of it: own, p, entropy, surprise, ..
let timer = null; // of playing
let telling = null; // of the live region
const settings = { temperature: 1, topK: 0, topP: 1, log: false };

const find = (selector) => element.querySelector(selector);
const all = (selector) => [...element.querySelectorAll(selector)];
const input = (name) => find(`input[name="${name}"]`);
const put = (key, text) => { find(`[data-key="${key}"]`).textContent = text; };

function say(state, text) {
  find('.slow').dataset.state = state;
  find('.slow').dataset.full = data ? 'yes' : 'no';
  if (find('.status').textContent !== text) find('.status').textContent = text;
}

function unpack(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

function read(message) {
  const isMixture = message.kind !== 'categorical';
  const { layers } = message;
  return { ...message, isMixture,
    codes: unpack(message.codes, Uint16Array),
    noise: message.noise && unpack(message.noise, Float32Array),
    waveform: unpack(message.waveform, Float32Array),
    amplitudes: unpack(message.amplitudes, Float32Array),
    levels: isMixture ? null : unpack(message.levels, Uint16Array),
    low: isMixture ? null : unpack(message.low, Float32Array),
    height: isMixture ? null : unpack(message.height, Float32Array),
    params: isMixture ? unpack(message.params, Float32Array) : null,
    edges: isMixture ? unpack(message.edges, Float64Array) : null,
    layers: { ...layers, gates: unpack(layers.gates, Uint8Array), skips: unpack(layers.skips, Uint8Array) } };
}

const part = (values, step) => {
  const size = values.length / data.count;
  return values.subarray(step * size, (step + 1) * size);
};

// What the model expected at a step, and what settings make of it.
function expect(step, chosen) {
  const code = data.codes[step];
  if (!data.isMixture) {
    const logits = Float64Array.from(part(data.levels, step),
      (level) => data.low[step] + data.height[step] * level);
    const own = reshape(logits, { temperature: 1, topK: 0, topP: 1 });
    const p = reshape(logits, chosen);
    return { own, p, cell: code, surprise: bits(p[code]), again: data.noise && draw(p, data.noise[step]) };
  }
  const below = mixture(data.kind, part(data.params, step), chosen.temperature);
  const own = cells(mixture(data.kind, part(data.params, step), 1), data.edges);
  const p = cells(below, data.edges);
  const edge = (c) => (c < 0 ? -Infinity : c === 65535 ? Infinity : (2 * c + 1) / 65535 - 1);
  const value = 2 * code / 65535 - 1;
  return { own, p, value, cell: data.edges.findIndex((e) => value < e || e >= 1),
    surprise: bits(Math.max(0, below(edge(code)) - below(edge(code - 1)))),
    again: data.noise && draw(p, data.noise[step] + HALF_CELL) };
}

const number = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : '∞');

function facts() {
  const { p, cell, surprise, again, value } = shown;
  const left = p.reduce((n, v) => n + (v > 0), 0);
  const uncertainty = entropy(p);
  const kind = data.isMixture ? 'cell' : 'class';
  const list = {
    [data.noise ? 'Drawn' : 'Recorded']: `${kind} ${cell}`,
    Amplitude: signed(value ?? data.amplitudes[cell]),
    Surprise: surprise === Infinity ? 'ruled out' : `${number(surprise)} bits`,
    [data.isMixture ? 'Entropy of cells' : 'Entropy']: `${number(uncertainty)} bits`,
    'Effective choices': number(2 ** uncertainty, 1),
    [data.isMixture ? 'Cells left' : 'Classes left']: `${left} of ${p.length}`,
  };
  if (data.noise) list['Would draw'] = again === cell ? 'the same' : `${kind} ${again}`;
  return list;
}

function sentence() {
  const list = Object.entries(facts()).map(([name, value]) => `${name.toLowerCase()} ${value}`);
  return `step ${at + 1} of ${data.count}, ${list.join(', ')}.`;
}

function drawNumbers() {
  find('dl').replaceChildren(...Object.entries(facts()).map(([name, value]) => {
    const row = document.createElement('div');
    row.append(document.createElement('dt'), document.createElement('dd'));
    row.firstChild.textContent = name;
    row.lastChild.textContent = value;
    return row;
  }));
  put('step', `${at + 1} of ${data.count}`);
  put('time', `to sample ${(data.first + at).toLocaleString('en')}, ${((data.first + at) / data.rate).toFixed(4)} s`);
  put('temperature', settings.temperature.toFixed(2));
  put('topK', settings.topK ? String(settings.topK) : 'off');
  put('topP', settings.topP < 1 ? settings.topP.toFixed(2) : 'off');
  put('speed', `${input('speed').value} a second`);
}

// Shows the step in view. The live region speaks when the person has come to rest, never while it plays.
function show() {
  if (!data || !find('.stage').clientWidth) return;
  shown = expect(at, settings);
  drawWave();
  drawCurve();
  drawNumbers();
  for (const figure of all('[data-map]')) pointMap(figure, figure.dataset.map, data.layers, data.count, at);
  input('at').value = at;
  input('at').setAttribute('aria-valuetext', `step ${at + 1} of ${data.count}`);
  clearTimeout(telling);
  if (timer === null) telling = setTimeout(() => { find('.spoken').textContent = sentence(); }, 400);
}

function go(step) {
  at = Math.max(0, Math.min(data.count - 1, step));
  show();
}

function pause() {
  clearTimeout(timer);
  timer = null;
  find('.slow').dataset.playing = 'no';
  find('[data-do="play"]').setAttribute('aria-label', 'Play');
}

function beat() {
  if (at >= data.count - 1 || !find('.stage').clientWidth) { pause(); show(); return; }
  timer = setTimeout(beat, 1000 / input('speed').value);
  go(at + 1);
}

function play() {
  clearTimeout(telling);
  if (at >= data.count - 1) at = 0;
  find('.slow').dataset.playing = 'yes';
  find('[data-do="play"]').setAttribute('aria-label', 'Pause');
  timer = setTimeout(beat, 1000 / input('speed').value);
  find('.spoken').textContent = 'Playing.';
}

function reset() {
  Object.assign(settings, { temperature: 1, topK: 0, topP: 1 });
  for (const name of ['temperature', 'topK', 'topP']) input(name).value = settings[name];
  show();
}

const actions = {
  back() { pause(); go(at - 1); },
  step() { pause(); go(at + 1); },
  play() { if (timer === null) play(); else { pause(); show(); } },
  reset,
};

function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') return;
  pause();
  clearTimeout(telling);
  if (message.busy) { say('busy', message.busy); return; }
  find('.spoken').textContent = '';
  if (message.error) { data = null; say('error', message.error); return; }
  data = read(message);
  at = 0;
  input('at').max = data.count - 1;
  input('topK').max = data.isMixture ? 1 : data.amplitudes.length;
  for (const name of ['topK', 'topP']) input(name).disabled = data.isMixture;
  if (data.isMixture) Object.assign(settings, { topK: 0, topP: 1 });
  find('.could').hidden = !data.noise;
  put('kind', data.isMixture ? 'cell' : 'class');
  put('took', data.noise ? 'drawn' : 'recorded');
  say('ready', data.title);
  const times = `${seconds(data.first)} to ${seconds(data.first + data.count)}`;
  for (const figure of all('[data-map]')) {
    buildMap(figure, figure.dataset.map, data.layers, data.count, times);
  }
  show();
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (data && button && element.contains(button)) actions[button.dataset.do]();
});
element.addEventListener('input', (event) => {
  const { name, value, checked } = event.target;
  if (name === 'at') { pause(); go(Number(value)); return; }
  if (name === 'log') settings.log = checked;
  else if (name in settings) settings[name] = Number(value);
  if (data) show();
});
element.addEventListener('keydown', (event) => {
  if (!data || event.ctrlKey || event.metaKey || event.altKey) return;
  const { tagName, type } = event.target;
  const keys = { ' ': actions.play, ArrowLeft: actions.back, ArrowRight: actions.step,
    Home() { pause(); go(0); }, End() { pause(); go(data.count - 1); } };
  // A slider keeps its arrows, a button and a box their space.
  const isOwn = tagName === 'BUTTON' || type === 'checkbox' ? event.key === ' ' : tagName === 'INPUT' && event.key !== ' ';
  if (isOwn || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
let isHeld = false; // a pointer is down on a heat map
function point(event) {
  const box = event.target.closest('.heat');
  if (!data || !box) return;
  const { left, width } = box.getBoundingClientRect();
  pause();
  go(Math.floor((event.clientX - left) / width * data.count));
}
element.addEventListener('pointerdown', (event) => { isHeld = true; point(event); });
element.addEventListener('pointermove', (event) => { if (isHeld) point(event); });
addEventListener('pointerup', () => { isHeld = false; });

if (calm) input('speed').value = 2;
// The server failed without a word of its own.
function settle() {
  if (find('.slow').dataset.state === 'busy') { data = null; say('error', 'It ended early; see the message.'); }
}

// `rules` is for tests, which compare them with Python's.
element.closest('#steps').slow = { settle, rules: { reshape, draw, mixture, cells, expect } };
watch('value', receive);
new ResizeObserver(show).observe(find('.stage'));
receive();
