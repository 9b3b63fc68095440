// Shows a spoken text: its words, lit while they are heard; the pronunciation of a word; and the
// melody and durations of a sentence, which can be changed. `element`, `props`, `trigger` and `watch`
// come from gr.HTML; speech_message.py builds the value. The value is also an input of Speak, with
// the changes of the user: {text, style, changes, pronunciations}.
const HEIGHT = 190; // px
const STRIP = 26; // px, at the bottom, with the phones
const LEFT = 40; // px, of the axis
const MIN_FRAME_PX = 2.2; // a longer sentence is scrolled
const PITCH_STEP = 2 ** (1 / 24); // of a key: a quarter tone
const GRID_HZ = [50, 75, 100, 150, 200, 300, 400, 600, 800];

let shown = null; // the message
let sentence = 0; // index of the selected one
let word = null; // index of the selected word, or null
let token = 0; // index of the selected phone
let heard = null; // s, of the whole text
let drag = null; // 'melody', or the index of the token whose duration changes

const find = (selector) => element.querySelector(selector);
const svg = find('svg');
const current = () => shown.sentences[sentence];
const changeOf = (n) => shown.changes.find((change) => change.sentence === n);

function makeElement(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// ---- The text ----

function listWords() {
  find('.text').replaceChildren(...shown.sentences.map((spoken, n) => {
    const line = makeElement('p', '', { 'data-sentence': n });
    let place = 0;
    const characters = [...spoken.text]; // Python counts characters, not UTF-16 units
    spoken.words.forEach(({ at: [first, last] }, k) => {
      line.append(characters.slice(place, first).join(''));
      line.append(makeElement('button', characters.slice(first, last).join(''), { type: 'button', class: 'word', 'data-word': k }));
      place = last;
    });
    line.append(characters.slice(place).join(''));
    return line;
  }));
}

function markWords() {
  for (const line of element.querySelectorAll('[data-sentence]')) {
    const n = Number(line.dataset.sentence);
    line.toggleAttribute('data-selected', n === sentence && shown.sentences.length > 1);
    for (const button of line.querySelectorAll('.word')) {
      const k = Number(button.dataset.word);
      button.setAttribute('aria-pressed', String(n === sentence && k === word));
      button.toggleAttribute('data-corrected', keyOf(n, k) in shown.pronunciations);
    }
  }
}

// Marks the word that is heard; each `start` is that of the sound that was generated.
function markHeard() {
  for (const line of element.querySelectorAll('[data-sentence]')) {
    const spoken = shown.sentences[line.dataset.sentence];
    for (const button of line.querySelectorAll('.word')) {
      const { start, end } = spoken.words[button.dataset.word];
      const isHeard = heard !== null && heard >= spoken.start + start && heard < spoken.start + end;
      button.toggleAttribute('data-heard', isHeard);
    }
  }
  drawHeard();
}

// ---- The pronunciation of a word ----

const keyOf = (n, k) => shown.sentences[n].words[k].text.toLowerCase();
// A word that is read as several, such as a number, cannot be corrected at once.
const canCorrect = ({ read }) => read.length === 1 && read[0].text !== '';

function showPronunciation() {
  const form = find('.pronunciation');
  const chosen = word === null ? null : current().words[word];
  form.hidden = !chosen;
  find('.press').hidden = Boolean(chosen);
  if (!chosen) return;
  const isOwn = keyOf(sentence, word) in shown.pronunciations;
  const read = chosen.read.map(({ text, phones }) => (chosen.read.length > 1 ? `${text}: ${phones}` : phones));
  find('[data-value="word"]').textContent = `“${chosen.text}” is pronounced`;
  form.phones.value = isOwn ? shown.pronunciations[keyOf(sentence, word)] : read.join(', ');
  form.phones.readOnly = !canCorrect(chosen);
  form.querySelector('[type="submit"]').hidden = !canCorrect(chosen);
  find('[data-action="dictionary"]').hidden = !isOwn;
}

function correct(phones) {
  const pronunciations = { ...shown.pronunciations };
  if (phones) pronunciations[keyOf(sentence, word)] = phones.trim().toUpperCase();
  else delete pronunciations[keyOf(sentence, word)];
  // Other phones need other durations.
  keep({ pronunciations, changes: [] });
  document.getElementById('speak').click();
}

// ---- Melody and durations ----

// Keeps changes as the value, which Speak sends to the server.
function keep(changed) {
  shown = { ...shown, ...changed };
  props.value = shown;
  trigger('input');
  markWords();
  showButtons();
}

function showButtons() {
  const isChanged = shown.changes.length > 0;
  find('[data-action="speak"]').disabled = !isChanged;
  find('[data-action="undo"]').disabled = !isChanged;
}

function changeToken(n, { frames, f0 }) {
  const tokens = current().tokens.map((old, k) => {
    if (k !== n) return old;
    const [low, high] = shown.f0Range;
    const least = old.frames ? 1 : 0;
    return { ...old,
      frames: Math.max(least, Math.min(shown.longest, frames ?? old.frames)),
      f0: Math.max(low, Math.min(high, Math.round(100 * (f0 ?? old.f0)) / 100)) }; // as in a link
  });
  const sentences = shown.sentences.map((old, k) => (k === sentence ? { ...old, tokens } : old));
  const change = { sentence, frames: tokens.map((t) => t.frames), f0: tokens.map((t) => t.f0) };
  shown = { ...shown, sentences, changes: [...shown.changes.filter((c) => c.sentence !== sentence), change] };
  draw();
}

function undo() {
  const sentences = shown.sentences.map((old) => ({ ...old,
    tokens: old.tokens.map((t) => ({ ...t, frames: t.original[0], f0: t.original[1] })) }));
  keep({ sentences, changes: [] });
  draw();
}

// The scales of the drawing: px of a frame, and of a pitch.
function makeScales() {
  const { tokens } = current();
  const voiced = tokens.flatMap((t) => (t.isVoiced ? [t.f0, t.original[1]] : []));
  const [low, high] = [0.8 * Math.min(150, ...voiced), 1.25 * Math.max(200, ...voiced)];
  const frames = tokens.reduce((sum, t) => sum + t.frames, 0);
  const room = innerWidth(svg.parentElement) - LEFT;
  const scale = Math.max(MIN_FRAME_PX, room / Math.max(1, frames));
  const tall = HEIGHT - STRIP - 6;
  return { low, high, frames, scale,
    x: (frame) => LEFT + frame * scale,
    y: (hertz) => 6 + (tall * Math.log(high / hertz)) / Math.log(high / low),
    hertz: (y) => high * (low / high) ** ((y - 6) / tall) };
}

function curve(tokens, frames, f0, scales) {
  let place = 0;
  const points = [];
  tokens.forEach((t, k) => {
    if (t.isVoiced && frames[k]) points.push(`${scales.x(place + frames[k] / 2).toFixed(1)} ${scales.y(f0[k]).toFixed(1)}`);
    place += frames[k];
  });
  return points.length ? `M${points.join('L')}` : '';
}

let scales = null;
function draw() {
  if (!shown || !innerWidth(svg.parentElement)) return;
  const { tokens } = current();
  scales ??= makeScales();
  if (drag === null) scales = makeScales();
  const width = scales.x(tokens.reduce((sum, t) => sum + t.frames, 0));
  svg.setAttribute('width', Math.ceil(width));
  svg.setAttribute('height', HEIGHT);
  const parts = [makeSvg('rect', { class: 'strip', x: LEFT, y: HEIGHT - STRIP, width: Math.max(0, width - LEFT), height: STRIP })];
  for (const hertz of GRID_HZ.filter((v) => v > scales.low && v < scales.high)) {
    parts.push(makeSvg('line', { class: 'grid', x1: LEFT, x2: width, y1: scales.y(hertz), y2: scales.y(hertz) }));
    parts.push(makeSvg('text', { x: 2, y: scales.y(hertz) + 4 }, `${hertz} Hz`));
  }
  let place = 0;
  tokens.forEach((t, n) => {
    const [left, right] = [scales.x(place), scales.x(place + t.frames)];
    if (n === token) parts.push(makeSvg('rect', { class: 'chosen', x: left, y: 0, width: right - left, height: HEIGHT }));
    parts.push(makeSvg('line', { class: 'bound', x1: right, x2: right, y1: HEIGHT - STRIP, y2: HEIGHT }));
    if (right - left >= 9 * t.symbol.length) parts.push(makeSvg('text', { class: 'symbol', x: (left + right) / 2, y: HEIGHT - 9 }, t.symbol));
    place += t.frames;
  });
  const frames = tokens.map((t) => t.frames);
  if (changeOf(sentence)) {
    parts.push(makeSvg('path', { class: 'before', d: curve(tokens, frames, tokens.map((t) => t.original[1]), scales) }));
  }
  parts.push(makeSvg('path', { class: 'melody', d: curve(tokens, frames, tokens.map((t) => t.f0), scales) }));
  place = 0;
  for (const t of tokens) {
    if (t.isVoiced && t.frames) parts.push(makeSvg('circle', { class: 'point', r: 4, cx: scales.x(place + t.frames / 2), cy: scales.y(t.f0) }));
    place += t.frames;
  }
  parts.push(makeSvg('line', { class: 'heard', y1: 0, y2: HEIGHT }));
  svg.replaceChildren(...parts);
  find('output').textContent = describeToken();
  showButtons();
  drawHeard();
}

// Only where the curve is that of the sound.
function drawHeard() {
  const line = find('.heard');
  if (!line || !scales) return;
  const end = current().tokens.reduce((sum, t) => sum + t.frames, 0);
  const frame = heard === null ? -1 : (heard - current().start) * shown.framesPerSecond;
  line.style.display = frame >= 0 && frame <= end && !shown.isEdited ? '' : 'none';
  line.setAttribute('x1', scales.x(Math.max(0, frame)));
  line.setAttribute('x2', scales.x(Math.max(0, frame)));
}

function describeToken() {
  const { symbol, frames, f0, isVoiced } = current().tokens[token];
  const time = `${Math.round((1000 * frames) / shown.framesPerSecond)} ms`;
  const name = symbol === '–' ? 'pause' : symbol;
  return isVoiced ? `${name}: ${time}, ${Math.round(f0)} Hz` : `${name}: ${time}, without pitch`;
}

function selectToken(n) {
  token = Math.max(0, Math.min(current().tokens.length - 1, n));
  draw();
  find('.announcement').textContent = describeToken();
}

function tokenAt(x) {
  let right = LEFT;
  return current().tokens.findIndex((t) => { right += t.frames * scales.scale; return x < right; });
}

// The token whose end is nearest.
function boundaryAt(x) {
  let right = LEFT;
  let best = 0;
  let least = Infinity;
  current().tokens.forEach((t, n) => {
    right += t.frames * scales.scale;
    if (t.frames && Math.abs(right - x) < least) [best, least] = [n, Math.abs(right - x)];
  });
  return best;
}

function place(event) {
  const box = svg.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function paint([x, y]) {
  const n = tokenAt(x);
  if (n < 0) return;
  token = n;
  if (current().tokens[n].isVoiced) changeToken(n, { f0: scales.hertz(Math.max(6, Math.min(HEIGHT - STRIP, y))) });
  else draw();
}

function stretch([x]) {
  const before = current().tokens.slice(0, drag).reduce((sum, t) => sum + t.frames, 0);
  token = drag;
  changeToken(drag, { frames: Math.round((x - LEFT) / scales.scale - before) });
}

svg.addEventListener('pointerdown', (event) => {
  if (!shown || event.button) return;
  const at = place(event);
  svg.setPointerCapture(event.pointerId);
  drag = at[1] >= HEIGHT - STRIP ? boundaryAt(at[0]) : 'melody';
  if (drag === 'melody') paint(at); else { token = drag; draw(); }
});
svg.addEventListener('pointermove', (event) => {
  if (drag === null) return;
  if (drag === 'melody') paint(place(event)); else stretch(place(event));
});
for (const name of ['pointerup', 'pointercancel']) {
  svg.addEventListener(name, () => {
    if (drag === null) return;
    drag = null;
    keep({ isEdited: shown.changes.length > 0 });
    draw();
  });
}

const keys = {
  ArrowLeft: () => selectToken(token - 1),
  ArrowRight: () => selectToken(token + 1),
  ArrowUp: () => changeByKey({ f0: current().tokens[token].f0 * PITCH_STEP }),
  ArrowDown: () => changeByKey({ f0: current().tokens[token].f0 / PITCH_STEP }),
  '+': () => changeByKey({ frames: current().tokens[token].frames + 1 }),
  '=': () => changeByKey({ frames: current().tokens[token].frames + 1 }),
  '-': () => changeByKey({ frames: current().tokens[token].frames - 1 }),
};

function changeByKey(change) {
  changeToken(token, change);
  keep({ isEdited: true });
  draw();
  find('.announcement').textContent = describeToken();
}

svg.addEventListener('keydown', (event) => {
  if (!shown || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation(); // the viewer has the same keys
  keys[event.key]();
});

// ---- Messages and presses ----

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!shown || !button) return;
  if (button.dataset.word !== undefined) {
    sentence = Number(button.closest('[data-sentence]').dataset.sentence);
    word = Number(button.dataset.word);
    token = 0;
    markWords();
    showPronunciation();
    draw();
  }
  if (button.dataset.action === 'speak') document.getElementById('speak').click();
  if (button.dataset.action === 'undo') undo();
  if (button.dataset.action === 'dictionary') correct(null);
});
find('.pronunciation').addEventListener('submit', (event) => {
  event.preventDefault();
  correct(event.target.phones.value);
});
window.addEventListener('studio-heard', ({ detail }) => {
  if (!shown || detail.job !== shown.job) return;
  heard = detail.seconds;
  markHeard();
});

function receive() {
  if (props.value === shown) return; // a change by this script
  const message = props.value && props.value.sentences ? props.value : null;
  find('.speech').dataset.state = message ? 'shown' : 'empty';
  if (!message) { shown = null; return; }
  if (shown && JSON.stringify(message) === JSON.stringify(shown)) return; // the value after `keep`
  const isSame = shown && shown.text === message.text;
  shown = { ...message, isEdited: false };
  heard = null;
  if (!isSame) [sentence, word, token] = [shown.changes[0]?.sentence ?? 0, null, 0];
  sentence = Math.min(sentence, shown.sentences.length - 1);
  if (word !== null && word >= current().words.length) word = null;
  token = Math.min(token, current().tokens.length - 1);
  find('.notice').textContent = shown.notices.join(' ');
  listWords();
  markWords();
  showPronunciation();
  draw();
}

watch('value', receive);
receive();
drawAtWidth(svg.parentElement, draw);
