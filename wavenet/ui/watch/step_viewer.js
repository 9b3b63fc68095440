// Moves through the steps of a clip. `element`, `props` and `watch` come from gr.HTML; step_viewer.py
// builds the messages. sampling_rules.js, step_charts.js, heatmap.js and attention_map.js are part of the same script.
const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)').matches;

let data = null;
let current = 0; // index of the step in view
let prediction = null; // prediction at that step, see predict
let playTimer = null;
let announceTimer = null; // timer of the live region
const settings = { temperature: 1, topK: 0, topP: 1, log: false };

const find = (selector) => element.querySelector(selector);
const all = (selector) => [...element.querySelectorAll(selector)];
const input = (name) => find(`input[name="${name}"]`);
const setText = (key, text) => { find(`[data-key="${key}"]`).textContent = text; };

function showStatus(state, text) {
  find('.step-viewer').dataset.state = state;
  find('.step-viewer').dataset.hasSteps = data ? 'yes' : 'no';
  if (find('.status').textContent !== text) find('.status').textContent = text;
}

const unpack = (text, Kind) => new Kind(bytes(text).buffer);

function decode(message) {
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
    attention: null, // follows, see receiveAttention
    layers: layers && { ...layers, gates: unpack(layers.gates, Uint8Array), skips: unpack(layers.skips, Uint8Array) } };
}

async function receiveAttention({ attention }) {
  const receiver = data;
  if (!attention) return;
  const levels = await inflate(attention.levels);
  if (data !== receiver) return; // other steps have arrived
  data.attention = { ...attention, levels, older: unpack(attention.older, Float32Array) };
  buildAttention();
  show();
}

const valuesAt = (values, step) => {
  const size = values.length / data.count;
  return values.subarray(step * size, (step + 1) * size);
};

// Returns the model's prediction at a step (original), and with settings (p); the bin of the actual
// code, its surprise in bits, and the code that the same noise selects with the settings (resampled).
function predict(step, chosen) {
  const code = data.codes[step];
  if (!data.isMixture) {
    const logits = Float64Array.from(valuesAt(data.levels, step),
      (level) => data.low[step] + data.height[step] * level);
    const original = reshape(logits, { temperature: 1, topK: 0, topP: 1 });
    const p = reshape(logits, chosen);
    const resampled = data.noise && selectCode(p, data.noise[step]);
    return { original, p, bin: code, bits: surprise(p[code]), resampled };
  }
  const params = valuesAt(data.params, step);
  const cdf = mixtureCdf(data.kind, params, chosen.temperature);
  const original = binProbabilities(mixtureCdf(data.kind, params, 1), data.edges);
  const p = binProbabilities(cdf, data.edges);
  const edge = (c) => (c < 0 ? -Infinity : c === 65535 ? Infinity : (2 * c + 1) / 65535 - 1);
  const value = 2 * code / 65535 - 1;
  return { original, p, value, bin: data.edges.findIndex((e) => value < e || e >= 1),
    bits: surprise(Math.max(0, cdf(edge(code)) - cdf(edge(code - 1)))),
    resampled: data.noise && selectCode(p, data.noise[step] + HALF_CELL) };
}

// Only a WaveNet has heat maps of its layers.
const shownMaps = () => (data.layers ? all('[data-map]') : []);

const formatNumber = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : '∞');

function facts() {
  const { p, bin, bits, resampled, value } = prediction;
  const possible = p.reduce((n, v) => n + (v > 0), 0);
  const entropyBits = entropy(p);
  const kind = data.isMixture ? 'bin' : 'code';
  const list = {
    [data.noise ? 'Drawn' : 'Recorded']: `${kind} ${bin}`,
    Amplitude: formatSigned(value ?? data.amplitudes[bin]),
    Surprise: bits === Infinity ? 'infinite (excluded)' : `${formatNumber(bits)} bits`,
    [data.isMixture ? 'Entropy of bins' : 'Entropy']: `${formatNumber(entropyBits)} bits`,
    Perplexity: formatNumber(2 ** entropyBits, 1),
    [data.isMixture ? 'Possible bins' : 'Possible codes']: `${possible} of ${p.length}`,
  };
  if (data.noise) list['Drawn with these settings'] = resampled === bin ? 'the same' : `${kind} ${resampled}`;
  return list;
}

function describeStep() {
  const list = Object.entries(facts()).map(([name, value]) => `${name.toLowerCase()} ${value}`);
  return `step ${current + 1} of ${data.count}, ${list.join(', ')}.`;
}

function showFacts() {
  find('dl').replaceChildren(...Object.entries(facts()).map(([name, value]) => {
    const row = document.createElement('div');
    row.append(document.createElement('dt'), document.createElement('dd'));
    row.firstChild.textContent = name;
    row.lastChild.textContent = value;
    return row;
  }));
  setText('step', `${current + 1} of ${data.count}`);
  setText('time', `to sample ${formatCount(data.first + current)}, ${((data.first + current) / data.rate).toFixed(4)} s`);
  setText('temperature', settings.temperature.toFixed(2));
  setText('topK', settings.topK ? String(settings.topK) : 'off');
  setText('topP', settings.topP < 1 ? settings.topP.toFixed(2) : 'off');
  setText('speed', `${input('speed').value} steps/s`);
}

// Shows the step in view. The live region announces it after a pause, never during playback.
function show() {
  if (!data || !find('.panel').clientWidth) return;
  prediction = predict(current, settings);
  drawWaveform();
  drawProbabilities();
  drawAttention();
  showFacts();
  for (const figure of shownMaps()) {
    moveMapCursor(figure, figure.dataset.map, data.layers, data.count, current);
  }
  input('current').value = current;
  input('current').setAttribute('aria-valuetext', `step ${current + 1} of ${data.count}`);
  clearTimeout(announceTimer);
  if (playTimer === null) announceTimer = setTimeout(() => { find('.announcement').textContent = describeStep(); }, 400);
}

function goTo(step) {
  current = Math.max(0, Math.min(data.count - 1, step));
  show();
}

function pause() {
  clearTimeout(playTimer);
  playTimer = null;
  find('.step-viewer').dataset.playing = 'no';
  find('[data-action="play"]').setAttribute('aria-label', 'Play');
}

function advance() {
  if (current >= data.count - 1 || !find('.panel').clientWidth) { pause(); show(); return; }
  playTimer = setTimeout(advance, 1000 / input('speed').value);
  goTo(current + 1);
}

function play() {
  clearTimeout(announceTimer);
  if (current >= data.count - 1) current = 0;
  find('.step-viewer').dataset.playing = 'yes';
  find('[data-action="play"]').setAttribute('aria-label', 'Pause');
  playTimer = setTimeout(advance, 1000 / input('speed').value);
  find('.announcement').textContent = 'Playing.';
}

function reset() {
  Object.assign(settings, { temperature: 1, topK: 0, topP: 1 });
  for (const name of ['temperature', 'topK', 'topP']) input(name).value = settings[name];
  show();
}

const actions = {
  back() { pause(); goTo(current - 1); },
  step() { pause(); goTo(current + 1); },
  play() { if (playTimer === null) play(); else { pause(); show(); } },
  reset,
};

function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') return;
  pause();
  clearTimeout(announceTimer);
  if (message.busy) { showStatus('busy', message.busy); return; }
  find('.announcement').textContent = '';
  if (message.error) { data = null; showStatus('error', message.error); return; }
  data = decode(message);
  current = 0;
  input('current').max = data.count - 1;
  input('topK').max = data.isMixture ? 1 : data.amplitudes.length;
  for (const name of ['topK', 'topP']) input(name).disabled = data.isMixture;
  if (data.isMixture) Object.assign(settings, { topK: 0, topP: 1 });
  find('.resampled-key').hidden = !data.noise;
  setText('kind', data.isMixture ? 'bin' : 'code');
  setText('origin', data.noise ? 'drawn' : 'recorded');
  showStatus('ready', data.title);
  const times = `${formatSeconds(data.first)} to ${formatSeconds(data.first + data.count)}`;
  find('.maps').hidden = !data.layers;
  for (const figure of shownMaps()) {
    buildMap(figure, figure.dataset.map, data.layers, data.count, times);
  }
  buildAttention();
  show();
  receiveAttention(message);
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (data && button && element.contains(button)) actions[button.dataset.action]();
});
element.addEventListener('input', (event) => {
  const { name, value, checked } = event.target;
  if (name === 'current') { pause(); goTo(Number(value)); return; }
  if (name === 'log') settings.log = checked;
  else if (name in settings) settings[name] = Number(value);
  if (data) show();
});
element.addEventListener('keydown', (event) => {
  if (!data || event.ctrlKey || event.metaKey || event.altKey || moveAttention(event)) return;
  const { tagName, type } = event.target;
  const keys = { ' ': actions.play, ArrowLeft: actions.back, ArrowRight: actions.step,
    Home() { pause(); goTo(0); }, End() { pause(); goTo(data.count - 1); } };
  // Sliders handle the arrow keys themselves, buttons and check boxes the space key.
  const isHandled = tagName === 'BUTTON' || type === 'checkbox' ? event.key === ' ' : tagName === 'INPUT' && event.key !== ' ';
  if (isHandled || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
let isPointerDown = false;
function point(event) {
  const box = event.target.closest('.heat');
  if (!data || !box) return;
  const { left, width } = box.getBoundingClientRect();
  pause();
  goTo(Math.floor((event.clientX - left) / width * data.count));
}
element.addEventListener('pointerdown', (event) => { isPointerDown = true; point(event); pointAttention(event); });
element.addEventListener('pointermove', (event) => { if (isPointerDown) point(event); pointAttention(event); });
addEventListener('pointerup', () => { isPointerDown = false; });

if (reducedMotion) input('speed').value = 2;
// Ends a run after an error of the server that sent no message.
function fail() {
  if (find('.step-viewer').dataset.state === 'busy') {
    data = null;
    showStatus('error', 'Failed; see the error message.');
  }
}

// Tests compare `rules` with Python.
const rules = { reshape, selectCode, mixtureCdf, binProbabilities, predict };
element.closest('#step-viewer').stepViewer = { fail, rules };
watch('value', receive);
new ResizeObserver(show).observe(find('.panel'));
receive();
