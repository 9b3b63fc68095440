// Pictures of one clip on a shared time axis, with its playback. `element`, `props` and `watch` come
// from gr.HTML; panels.py builds the messages; panel_drawing.js draws; clip_files.js saves.
const { AXIS_WIDTH, RIGHT_PADDING, decodeValues, paintHeatmap, makePlot } = window.panelDrawing;
const MIN_SPAN_SAMPLES = 16; // shortest visible time range
const KEY_SECONDS = 0.1; // of one press of an arrow key
const START_DELAY_SECONDS = 0.05; // so that the output starts at the scheduled time, not after it
const DRAG_PX = 4; // a shorter movement is a click
const STORED = 'wavenet-viewer'; // choices that the browser keeps

let clip = null; // the current message
let panels = []; // {spec, values, caption, plot, image, holder, readout}
let drawnWidth = 0; // px, of the panels
let view = [0, 1]; // visible time range, s
let selection = null; // [start, end], s
let pointer = null; // s, under the pointer
let drag = null; // {x, seconds, before}
const fingers = new Map(); // px on the screen, by pointer
let pinch = null; // the times under two fingers, s, the left one first
let audio = null; // AudioBuffer of the clip
let source = null; // the playing AudioBufferSourceNode
let position = 0; // s, of the playhead
let isLooping = false;
let isRequested = false; // Play was pressed before the audio was loaded
let choices = loadChoices(); // {panels: {title: isShown}, range, colours}

const find = (selector) => element.querySelector(selector);
const control = (name) => find(`[data-control="${name}"]`);
const viewer = find('.viewer');
const area = find('.panels');
const duration = () => (clip ? clip.samples / clip.rate : 1);
const formatTime = (seconds) => `${seconds.toFixed(3)} s`;
const prefersLessMotion = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

// ---- Choices that the browser keeps ----

function loadChoices() {
  try {
    return { panels: {}, ...JSON.parse(localStorage.getItem(STORED)) };
  } catch { // no storage, or other data
    return { panels: {} };
  }
}

function keepChoices() {
  choices.range = control('range').value;
  choices.colours = control('colours').value;
  try { localStorage.setItem(STORED, JSON.stringify(choices)); } catch { /* no storage */ }
}

const isShown = (spec) => choices.panels[spec.title] ?? !spec.hidden;

function listPanels() {
  find('[data-list="panels"]').replaceChildren(find('legend'), ...clip.panels.map((spec) => {
    const label = document.createElement('label');
    const input = document.createElement('input');
    [input.type, input.checked] = ['checkbox', isShown(spec)];
    input.addEventListener('change', () => {
      choices.panels[spec.title] = input.checked;
      keepChoices();
      build();
    });
    label.append(input, ` ${spec.title}`);
    return label;
  }));
}

// ---- Panels ----

function themeColours() {
  const style = getComputedStyle(viewer);
  const [line, second, text, grid, background, event] = ['--line', '--line-2', '--text', '--grid', '--background', '--event']
    .map((name) => style.getPropertyValue(name).trim());
  return { lines: [line, second], text, grid, background, event };
}

function paint(panel) {
  if (panel.spec.kind !== 'heatmap') return;
  const name = panel.spec.limit ? 'coolwarm' : control('colours').value;
  panel.image = paintHeatmap(panel, find(`[data-colours="${name}"]`).value, Number(control('range').value));
}

function makeHolder(spec, caption, colours) {
  const holder = document.createElement('figure');
  holder.dataset.panel = spec.title;
  holder.innerHTML = '<figcaption><span></span><output></output></figcaption>'
    + '<div class="plot" role="img"><i class="selection"></i><i class="pointer"></i><i class="playhead"></i></div>';
  holder.querySelector('span').textContent = caption;
  if (spec.kind === 'line' && spec.rows > 1) {
    spec.names.forEach((name, n) => {
      const mark = document.createElement('i');
      mark.style.background = colours.lines[n];
      holder.querySelector('span').append(mark, name);
    });
  }
  holder.querySelector('.plot').setAttribute('aria-label', `${caption}, ${duration().toFixed(2)} seconds`);
  return holder;
}

function build() {
  for (const panel of panels) panel.plot.destroy();
  panels = [];
  area.replaceChildren();
  drawnWidth = area.clientWidth;
  if (!drawnWidth) return; // the tab is hidden
  const colours = themeColours();
  const shown = clip.panels.filter(isShown);
  const state = { view: () => view, audio: () => audio, events: () => clip.events || [] };
  panels = shown.map((spec, n) => {
    spec.values ??= decodeValues(spec);
    const caption = spec.unit ? `${spec.title} (${spec.unit})` : spec.title;
    const panel = { spec, values: spec.values, caption, holder: makeHolder(spec, caption, colours) };
    paint(panel);
    area.append(panel.holder);
    panel.readout = panel.holder.querySelector('output');
    panel.plot = makePlot(panel, panel.holder.querySelector('.plot'), drawnWidth, n === shown.length - 1, colours, state);
    return panel;
  });
  place();
}

function redraw() {
  for (const { plot } of panels) plot.redraw(true, true);
  place();
}

// ---- Marks over the panels: selection, pointer, playhead ----

// Not from the elements of uPlot, which has no sizes before the next task.
function toPixel(seconds) {
  const width = drawnWidth - AXIS_WIDTH - RIGHT_PADDING;
  return AXIS_WIDTH + ((seconds - view[0]) / (view[1] - view[0])) * width;
}

function setMark(holder, name, start, end = start) {
  const mark = holder.querySelector(`.${name}`);
  mark.hidden = start === null || end < view[0] || start > view[1];
  if (mark.hidden) return;
  const left = toPixel(Math.max(start, view[0]));
  mark.style.transform = `translateX(${left}px)`;
  if (end !== start) mark.style.width = `${Math.max(1, toPixel(Math.min(end, view[1])) - left)}px`;
}

function place() {
  for (const { holder } of panels) {
    setMark(holder, 'playhead', position);
    setMark(holder, 'pointer', pointer);
    setMark(holder, 'selection', ...(selection || [null]));
  }
  const selected = selection ? `, selected ${selection.map(formatTime).join(' to ')}` : '';
  find('[data-value="time"]').textContent = `${formatTime(position)} of ${formatTime(duration())}${selected}`;
  placeControls();
  viewer.dataset.position = position.toFixed(4);
  viewer.dataset.view = view.map((t) => t.toFixed(4)).join(' ');
  viewer.dataset.selection = selection ? selection.map((t) => t.toFixed(4)).join(' ') : '';
}

function placeControls() {
  const slider = control('position');
  [slider.max, slider.value] = [duration(), position];
  const text = `${position.toFixed(source ? 0 : 2)} of ${duration().toFixed(2)} seconds`;
  if (slider.getAttribute('aria-valuetext') !== text) slider.setAttribute('aria-valuetext', text);
  const rest = duration() - (view[1] - view[0]);
  const scroll = control('scroll');
  scroll.disabled = rest <= 0;
  scroll.value = rest > 0 ? view[0] / rest : 0;
  scroll.setAttribute('aria-valuetext', `${view[0].toFixed(2)} to ${view[1].toFixed(2)} seconds`);
  find('[data-action="play"]').textContent = source ? 'Pause' : 'Play';
  find('[data-action="selection"]').disabled = !selection;
}

function describeValue({ spec, values }, row) {
  const range = spec.limit ? 2 * spec.limit : spec.high - spec.low;
  const digits = Math.max(0, 3 - Math.floor(Math.log10(range || 1)));
  if (spec.kind === 'waveform') {
    const k = Math.min(audio ? audio.length - 1 : 0, Math.floor(pointer * (audio ? audio.sampleRate : 1)));
    return audio ? audio.getChannelData(0)[k].toFixed(4) : '';
  }
  const columns = values.length / spec.rows;
  const column = Math.min(columns - 1, Math.max(0, Math.floor((pointer - spec.start) / spec.step)));
  if (spec.kind === 'intervals') return spec.names[values.findLastIndex((bound) => bound <= pointer)] || '';
  const describe = (n) => {
    const value = values[n * columns + column];
    return Number.isNaN(value) ? 'none' : `${value.toFixed(digits)} ${spec.unit}`;
  };
  if (spec.kind === 'heatmap') return row === null ? '' : `${spec.names[row]} · ${describe(row)}`;
  if (spec.rows === 1) return describe(0);
  return spec.names.map((name, n) => `${name} ${describe(n)}`).join(' · ');
}

function describePointer(event) {
  for (const panel of panels) {
    const box = panel.plot.over.getBoundingClientRect();
    const share = (box.bottom - event.clientY) / box.height;
    const row = share > 0 && share <= 1 ? Math.min(panel.spec.rows - 1, Math.floor(share * panel.spec.rows)) : null;
    panel.readout.textContent = pointer === null ? ''
      : [formatTime(pointer), describeValue(panel, row)].filter(Boolean).join(' · ');
  }
}

// ---- Zoom and selection ----

function setView(from, to) {
  const least = Math.min(duration(), MIN_SPAN_SAMPLES / clip.rate);
  const span = Math.min(duration(), Math.max(least, to - from));
  const start = Math.max(0, Math.min(duration() - span, from));
  view = [start, start + span];
  redraw();
}

function zoom(factor, centre = (view[0] + view[1]) / 2) {
  setView(centre - (centre - view[0]) * factor, centre + (view[1] - centre) * factor);
}

// Moves the end of the selection that is not at the playhead; starts one at the playhead.
function extendSelection(seconds) {
  const [start, end] = selection || [position, position];
  const isForwards = position === start;
  const moved = Math.max(0, Math.min(duration(), (isForwards ? end : start) + seconds));
  const fixed = isForwards ? start : end;
  selection = fixed === moved ? null : [fixed, moved].sort((a, b) => a - b);
  place();
}

// ---- Playback ----

function showProblem(text) {
  find('.problem').textContent = text;
  find('.problem').hidden = !text;
}

async function loadAudio(current) {
  [audio, isRequested] = [null, false];
  showProblem('');
  try {
    const response = await fetch(current.url);
    if (!response.ok) throw new Error(response.statusText);
    const decoder = new OfflineAudioContext(1, 1, current.rate);
    const decoded = await decoder.decodeAudioData(await response.arrayBuffer());
    if (clip.url !== current.url) return;
    audio = decoded;
  } catch {
    if (clip.url === current.url) showProblem('The audio file is no longer on the server. Generate or analyse the clip again.');
    return;
  }
  redraw();
  if (isRequested) play();
}

// One audio output for all viewers of the page; it opens in the handler of a key or a click.
function openOutput(rate) {
  if (window.viewerOutput?.sampleRate !== rate) {
    window.viewerOutput?.close();
    window.viewerOutput = new AudioContext({ sampleRate: rate });
  }
  window.viewerOutput.resume();
  return window.viewerOutput;
}

function pause() {
  isRequested = false;
  if (!source) return;
  source.onended = null;
  source.stop();
  source = null;
  place();
  tellHeard(null);
}

// The view of a spoken text marks the words that are heard; `job` is that of its message.
function tellHeard(seconds) {
  if (clip?.job === undefined) return;
  window.dispatchEvent(new CustomEvent('studio-heard', { detail: { job: clip.job, seconds } }));
}

function play(from = position) {
  if (!audio) { isRequested = true; return; }
  pause();
  window.dispatchEvent(new CustomEvent('studio-play', { detail: element }));
  const output = openOutput(audio.sampleRate);
  const [start, end] = selection || [0, duration()];
  const first = from < start || from >= end - 1e-3 ? start : from;
  const started = output.createBufferSource();
  started.buffer = audio;
  started.connect(output.destination);
  const startedAt = output.currentTime + START_DELAY_SECONDS;
  if (isLooping) {
    [started.loop, started.loopStart, started.loopEnd] = [true, start, end];
    started.start(startedAt, first);
  } else {
    started.start(startedAt, first, end - first);
  }
  [source, position] = [started, first];
  started.onended = () => { if (source === started) { [source, position] = [null, start]; place(); tellHeard(null); } };
  function follow() {
    if (source !== started) return;
    // What is heard now was given to the output earlier.
    const heard = first + Math.max(0, output.currentTime - startedAt - (output.outputLatency || 0));
    position = Math.min(end, heard);
    if (isLooping && heard >= end) position = start + ((heard - start) % (end - start));
    const isOutside = position > view[1] || position < view[0];
    if (isOutside && !prefersLessMotion()) setView(position, position + view[1] - view[0]);
    place();
    tellHeard(position);
    requestAnimationFrame(follow);
  }
  follow();
}

function seek(seconds) {
  const wasPlaying = Boolean(source);
  pause();
  position = Math.max(0, Math.min(duration(), seconds));
  if (wasPlaying) play(position); else place();
}

// Plays an improbable place and what comes before it; the place stays or becomes visible.
function playPlace({ url, start, end, lead }) {
  if (clip?.url !== url || !viewer.offsetParent) return;
  pause();
  [selection, position] = [null, Math.max(0, start - lead)];
  const span = Math.max(view[1] - view[0], end - position);
  if (position < view[0] || end > view[1]) setView(position - 0.1 * span, position + 0.9 * span);
  play();
  place();
}

// ---- Events ----

function secondsAt(event) {
  const box = panels[0].plot.over.getBoundingClientRect();
  const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  return view[0] + share * (view[1] - view[0]);
}

// Keeps the times under two fingers where the fingers are.
function zoomByPinch() {
  const box = panels[0].plot.over.getBoundingClientRect();
  const [left, right] = [...fingers.values()].sort((a, b) => a - b);
  const secondsPerPixel = (pinch[1] - pinch[0]) / Math.max(1, right - left);
  const start = pinch[0] - (left - box.left) * secondsPerPixel;
  setView(start, start + box.width * secondsPerPixel);
}

function onDown(event) {
  if (!panels.length) return;
  if (event.pointerType === 'touch') fingers.set(event.pointerId, event.clientX);
  if (fingers.size === 2) {
    onCancel();
    pinch = [...fingers.values()].sort((a, b) => a - b).map((clientX) => secondsAt({ clientX }));
  }
  if (event.button === 0 && fingers.size < 2) drag = { x: event.clientX, seconds: secondsAt(event), before: selection };
}

function onMove(event) {
  if (!panels.length) return;
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event.clientX);
  if (pinch) { zoomByPinch(); return; }
  pointer = secondsAt(event);
  if (drag && Math.abs(event.clientX - drag.x) > DRAG_PX) {
    selection = [drag.seconds, pointer].sort((a, b) => a - b);
  }
  place();
  describePointer(event);
}

function liftFinger(event) {
  fingers.delete(event.pointerId);
  if (!fingers.size) pinch = null;
}

function onUp(event) {
  liftFinger(event);
  if (!drag) return;
  const isDrag = Math.abs(event.clientX - drag.x) > DRAG_PX;
  drag = null;
  const seconds = secondsAt(event);
  if (isDrag && selection) {
    seek(selection[0]);
  } else {
    if (selection && (seconds < selection[0] || seconds > selection[1])) selection = null;
    seek(seconds);
  }
}

// The browser scrolls the page instead: the finger moves vertically.
function onCancel() {
  if (drag) selection = drag.before;
  drag = null;
  place();
}

function onLeave() {
  pointer = null;
  place();
  for (const { readout } of panels) readout.textContent = '';
}

// A plain vertical wheel scrolls the page.
function onWheel(event) {
  if (!panels.length) return;
  const isScroll = Math.abs(event.deltaX) > Math.abs(event.deltaY) && view[1] - view[0] < duration();
  if (!isScroll && !event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const moved = (event.deltaX / area.clientWidth) * (view[1] - view[0]);
  if (isScroll) setView(view[0] + moved, view[1] + moved);
  else zoom(event.deltaY > 0 ? 1.25 : 0.8, secondsAt(event));
}

const fileName = () => clip.name.replace(/[^\p{L}\p{N}._-]+/gu, '_');
const actions = {
  play: () => (source || isRequested ? pause() : play()),
  loop: () => {
    isLooping = !isLooping;
    find('[data-action="loop"]').setAttribute('aria-pressed', String(isLooping));
    if (source) play();
  },
  in: () => zoom(0.5),
  out: () => zoom(2),
  fit: () => setView(0, duration()),
  selection: () => selection && setView(...selection),
  clear: () => { selection = null; place(); },
  back: () => seek(position - KEY_SECONDS),
  forwards: () => seek(position + KEY_SECONDS),
  shorter: () => extendSelection(-KEY_SECONDS),
  longer: () => extendSelection(KEY_SECONDS),
  start: () => seek(0),
  end: () => seek(duration()),
  png: () => window.clipFiles.savePng(fileName(), panels, themeColours()),
  npz: () => window.clipFiles.saveNpz(fileName(), panels, audio),
};
const keys = { ' ': 'play', l: 'loop', '+': 'in', '=': 'in', '-': 'out', 0: 'fit', s: 'selection', escape: 'clear',
  arrowleft: 'back', arrowright: 'forwards', home: 'start', end: 'end' };
const shiftKeys = { arrowleft: 'shorter', arrowright: 'longer' };

// Keys work in the viewer, and while nothing on the page has the focus.
function onKey(event) {
  const { target } = event;
  const isHere = viewer.contains(target) || (target === document.body && viewer.offsetParent);
  const key = event.key.toLowerCase();
  const name = (event.shiftKey && shiftKeys[key]) || keys[key];
  if (!clip || !isHere || !name || event.ctrlKey || event.metaKey || event.altKey) return;
  // Keys that change the control itself.
  if (target.matches('select') || (key === ' ' && target.matches('button, summary, a, [type="checkbox"]'))) return;
  if (/^(arrow|home|end)/.test(key) && target.matches('input:not([data-control="position"])')) return;
  actions[name]();
  event.preventDefault();
}

// ---- Messages ----

function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') {
    pause();
    clip = null;
    viewer.dataset.state = 'empty';
  } else if (message.dim) {
    pause();
    viewer.dataset.state = clip ? 'old' : 'empty';
    find('.stale').textContent = message.dim;
    element.closest('.old')?.classList.remove('old'); // the texts around the pictures are new
  } else if (message.events) {
    if (clip?.url !== message.url) return;
    clip.events = message.events;
    redraw();
  } else if (message.update) {
    if (clip?.url !== message.url) return;
    clip.panels = clip.panels.map((spec) => (spec.title === message.update.title ? { ...message.update } : spec));
    build();
  } else {
    showClip(message);
  }
}

function showClip(message) {
  const isSame = clip?.url === message.url;
  clip = { ...message, panels: message.panels.map((spec) => ({ ...spec })) };
  if (!isSame) {
    pause();
    [position, selection, pointer] = [0, null, null];
    view = [0, duration()];
  }
  viewer.dataset.state = 'shown';
  find('.stale').textContent = '';
  element.closest('.old')?.classList.remove('old');
  find('[data-value="name"]').textContent = clip.partial ? `${clip.name} (partial)` : clip.name;
  find('[data-value="link"]').href = clip.url;
  listPanels();
  build();
  if (!isSame) loadAudio(clip);
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (button && clip) actions[button.dataset.action]();
});

function closeMenus(target) {
  for (const menu of element.querySelectorAll('details[open]')) {
    if (!menu.contains(target)) menu.open = false;
  }
}
document.addEventListener('click', (event) => closeMenus(event.target));
// Before `onKey`: the first press of Escape closes a menu.
document.addEventListener('keydown', (event) => {
  const open = event.key === 'Escape' && element.querySelector('details[open]');
  if (!open) return;
  closeMenus(null);
  open.querySelector('summary').focus();
  event.stopPropagation();
}, { capture: true });
control('position').addEventListener('input', (event) => seek(Number(event.target.value)));
control('scroll').addEventListener('input', (event) => {
  const span = view[1] - view[0];
  const start = Number(event.target.value) * (duration() - span);
  setView(start, start + span);
});
for (const name of ['range', 'colours']) {
  if (choices[name]) control(name).value = choices[name];
  const show = () => { find('[data-value="range"]').textContent = `${control('range').value} dB`; };
  show();
  control(name).addEventListener('input', () => {
    show();
    keepChoices();
    for (const panel of panels) paint(panel);
    redraw();
  });
}
area.addEventListener('pointerdown', onDown);
area.addEventListener('pointermove', onMove);
area.addEventListener('pointerleave', onLeave);
window.addEventListener('pointerup', onUp);
window.addEventListener('pointercancel', (event) => { liftFinger(event); onCancel(); });
area.addEventListener('dblclick', actions.fit);
area.addEventListener('wheel', onWheel, { passive: false });
document.addEventListener('keydown', onKey);
window.addEventListener('studio-place', (event) => playPlace(event.detail));
window.addEventListener('studio-play', (event) => { if (event.detail !== element) pause(); });
new ResizeObserver(() => { if (clip && area.clientWidth !== drawnWidth) build(); }).observe(area);
// Gradio switches between light and dark with a class of the body.
new MutationObserver(() => { if (clip) build(); }).observe(document.body, { attributeFilter: ['class'] });
watch('value', receive);
receive();
