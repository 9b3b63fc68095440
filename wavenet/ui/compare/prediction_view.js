// Moves a cursor through one recording, with the predictions of all members at the cursor. `element`,
// `props` and `watch` come from gr.HTML; member_predictions.py builds the messages;
// prediction_charts.js draws and is part of the same script.
let data = null;
let current = 0; // the sample at the cursor
let marked = null; // index of the member whose surprise is emphasised
let announceTimer = null;
let messages = 0; // received so far; decompression is asynchronous

const find = (selector) => element.querySelector(selector);
const input = (name) => find(`input[name="${name}"]`);
const view = find('.predictions');

function showStatus(state, text) {
  view.dataset.state = state;
  view.dataset.hasSteps = data ? 'yes' : 'no';
  if (find('.status').textContent !== text) find('.status').textContent = text;
}

const floats = (text) => new Float32Array(bytes(text).buffer);

async function decode(message) {
  const members = message.members.map((member) => ({ ...member,
    surprise: floats(member.surprise), peaks: floats(member.peaks) }));
  const amplitudes = floats(message.amplitudes);
  return { ...message, members, amplitudes, classes: amplitudes.length, codes: bytes(message.codes),
    waveform: floats(message.waveform), levels: await inflate(message.levels) };
}

const windowSize = () => 2 ** Number(input('window').value);

function describeCursor() {
  const bits = data.members.map((member) => `${member.title} ${member.surprise[current].toFixed(2)}`);
  return `sample ${formatCount(data.first + current)}, recorded code ${data.codes[current]}, surprise in bits: ${bits.join(', ')}`;
}

// Draws what depends on the cursor.
function showCursor() {
  drawCharts(input('zoom').checked);
  for (const svg of element.querySelectorAll('.waveform, .surprise')) {
    const inner = svg.viewBox.baseVal.width - LEFT - RIGHT;
    svg.querySelector('.cursor').setAttribute('transform', `translate(${inner * current / data.count})`);
  }
  const text = `${formatCount(data.first + current)}, ${formatTime(current)}, recorded code ${data.codes[current]}`;
  find('[data-key="sample"]').textContent = text;
  input('cursor').value = current;
  input('cursor').setAttribute('aria-valuetext', text);
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => { find('.announcement').textContent = describeCursor(); }, 500);
}

function draw() {
  if (!data || !find('.content').clientWidth) return;
  find('[data-key="window"]').textContent = windowSize();
  drawWaveform();
  drawSurprise(windowSize());
  showCursor();
}

function goTo(sample) {
  current = Math.max(0, Math.min(data.count - 1, Math.round(sample)));
  showCursor();
}

function listFailures(failures) {
  find('.failures').replaceChildren(...failures.map(({ title, text }) => {
    const item = document.createElement('li');
    item.textContent = `${title} was not computed: ${text}`;
    return item;
  }));
}

async function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') return;
  messages += 1;
  const number = messages;
  if (message.busy) { showStatus('busy', message.busy); return; }
  clearTimeout(announceTimer);
  listFailures(message.failures ?? []);
  if (message.error) { data = null; showStatus('error', message.error); return; }
  const decoded = await decode(message);
  if (number !== messages) return;
  data = decoded;
  current = Math.floor(data.count / 2);
  marked = null;
  input('cursor').max = data.count - 1;
  showStatus('ready', `${data.title}; ${formatCount(data.count)} samples from ${formatTime(0)} on.`);
  buildCharts();
  draw();
}

let isPointerDown = false;
function point(event) {
  const svg = event.target.closest('.waveform, .surprise');
  if (!data || !svg) return;
  const { left, width } = svg.getBoundingClientRect();
  goTo((event.clientX - left - LEFT) / (width - LEFT - RIGHT) * data.count - 0.5);
}
element.addEventListener('pointerdown', (event) => { isPointerDown = true; point(event); });
element.addEventListener('pointermove', (event) => { if (isPointerDown) point(event); });
addEventListener('pointerup', () => { isPointerDown = false; });
addEventListener('pointercancel', () => { isPointerDown = false; });
element.addEventListener('input', ({ target }) => {
  if (!data) return;
  if (target.name === 'cursor') goTo(Number(target.value)); else draw();
});
element.addEventListener('click', (event) => {
  const chart = event.target.closest('[data-chart]');
  if (!data || !chart) return;
  const n = Number(chart.dataset.chart);
  marked = marked === n ? null : n;
  draw();
});

watch('value', receive);
drawAtWidth(view, draw);
receive();
