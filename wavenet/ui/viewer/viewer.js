// Pictures of one clip on a shared time axis, with its playback. `element`, `props` and `watch` come
// from gr.HTML; viewer.py builds the message; uPlot draws the axes.
const AXIS_WIDTH = 56; // px, equal in all panels, so that their time axes are aligned
const MIN_SPAN_SAMPLES = 16; // shortest visible time range
const KEY_SEEK_SECONDS = 0.1;
const PANEL_HEIGHTS = { waveform: 110, line: 110, heatmap: 150 };
const GAP = 6; // px between panels in the PNG

let clip = null; // the current message
let panels = []; // {spec, plot, values, image}
let view = [0, 1]; // visible time range, s
let selection = null; // [start, end], s
let audio = null; // AudioBuffer of the clip
let context = null;
let source = null; // the playing AudioBufferSourceNode
let startedAt = 0; // context time at which `position` was played
let position = 0; // s, of the playhead
let isLooping = false;
let pointer = null; // s, under the pointer
const hidden = new Set(); // titles of panels that the user has hidden

const find = (selector) => element.querySelector(selector);
const theme = (name) => getComputedStyle(find('.viewer')).getPropertyValue(name).trim();
const reduced = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

function decode(text, Type) {
  return new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

function duration() { return clip ? clip.samples / clip.rate : 1; }

function formatTime(seconds) { return `${seconds.toFixed(3)} s`; }

// Values of a panel: real units, as Float32Array; a heat map has rows of frequency from low to high.
function panelValues(spec) {
  const raw = decode(spec.data, Uint16Array);
  const scale = (spec.high - spec.low) / 65534;
  return Float32Array.from(raw, (x) => (x === 65535 ? NaN : spec.low + x * scale));
}

// ---- Drawing ----

function colourTable(name) {
  const digits = find(`[data-colours="${name}"]`).value;
  return Array.from({ length: 256 }, (_, n) => [0, 2, 4].map((k) => parseInt(digits.slice(6 * n + k, 6 * n + k + 2), 16)));
}

// Draws a heat map once, one pixel per value; `drawHeatmap` scales it to the visible range.
function paintHeatmap(panel) {
  const { spec, values } = panel;
  const columns = values.length / spec.rows;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [columns, spec.rows];
  const image = new ImageData(columns, spec.rows);
  const table = colourTable(spec.signed ? 'coolwarm' : find('[data-control="colours"]').value);
  const range = Number(find('[data-control="range"]').value);
  const low = spec.signed ? spec.low : spec.high - range;
  for (let row = 0; row < spec.rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const share = (values[row * columns + column] - low) / (spec.high - low || 1);
      const colour = table[Math.max(0, Math.min(255, Math.round(255 * share)))];
      image.data.set([...colour, 255], 4 * ((spec.rows - 1 - row) * columns + column));
    }
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
  panel.image = canvas;
}

function drawHeatmap(plot, panel) {
  const { left, top, width, height } = plot.bbox;
  const { start, step } = panel.spec;
  const [from, to] = view;
  const x = (t) => (t - start) / step; // column of the image
  plot.ctx.save();
  plot.ctx.beginPath();
  plot.ctx.rect(left, top, width, height);
  plot.ctx.clip();
  plot.ctx.imageSmoothingEnabled = false;
  const scale = width / (x(to) - x(from));
  plot.ctx.drawImage(panel.image, left - x(from) * scale, top, panel.image.width * scale, height);
  plot.ctx.restore();
}

// The waveform as one minimum and maximum per pixel, or as a line through its samples when zoomed.
function drawWaveform(plot, panel) {
  const samples = audio && audio.getChannelData(0);
  if (!samples) return;
  const { left, top, width, height } = plot.bbox;
  const [from, to] = view.map((t) => t * clip.rate);
  const peak = panel.spec.high || 1;
  const y = (v) => top + (height * (1 - v / peak)) / 2;
  plot.ctx.save();
  plot.ctx.beginPath();
  plot.ctx.rect(left, top, width, height);
  plot.ctx.clip();
  plot.ctx.fillStyle = theme('--line');
  plot.ctx.strokeStyle = theme('--line');
  plot.ctx.lineWidth = devicePixelRatio;
  if (to - from > 2 * width) {
    for (let n = 0; n < width; n += 1) {
      const first = Math.floor(from + ((to - from) * n) / width);
      const last = Math.min(samples.length, Math.ceil(from + ((to - from) * (n + 1)) / width));
      let [low, high] = [Infinity, -Infinity];
      for (let k = Math.max(0, first); k < last; k += 1) {
        low = Math.min(low, samples[k]);
        high = Math.max(high, samples[k]);
      }
      if (low <= high) plot.ctx.fillRect(left + n, y(high), 1, Math.max(1, y(low) - y(high)));
    }
  } else {
    plot.ctx.beginPath();
    for (let k = Math.max(0, Math.floor(from)); k <= Math.min(samples.length - 1, to + 1); k += 1) {
      plot.ctx.lineTo(left + (width * (k - from)) / (to - from), y(samples[k]));
    }
    plot.ctx.stroke();
  }
  plot.ctx.restore();
}

function axisLabels(spec) {
  if (!spec.ticks) return {};
  return {
    splits: () => spec.ticks.map(([value]) => value),
    values: () => spec.ticks.map(([, text]) => text),
  };
}

function plotOptions(panel, width, isLast) {
  const { spec } = panel;
  const axis = { stroke: theme('--text'), grid: { stroke: theme('--grid') }, ticks: { show: false } };
  const [low, high] = spec.kind === 'heatmap' ? [0, spec.rows] : [spec.low, spec.high];
  return {
    width,
    height: PANEL_HEIGHTS[spec.kind] + (isLast ? 26 : 0),
    pxAlign: 0,
    legend: { show: false },
    padding: [6, 8, isLast ? 0 : 6, 0],
    scales: { x: { time: false, range: () => view }, y: { range: () => [low, high] } },
    axes: [
      { ...axis, show: true, size: isLast ? 26 : 0, values: isLast ? undefined : () => [],
        grid: { show: spec.kind !== 'heatmap', stroke: theme('--grid') } },
      { ...axis, size: AXIS_WIDTH, grid: { show: spec.kind !== 'heatmap', stroke: theme('--grid') },
        ...axisLabels(spec) },
    ],
    series: [{}, { stroke: theme('--line'), width: 1, points: { show: false },
      paths: spec.kind === 'line' ? undefined : () => null }],
    cursor: { show: false, drag: { x: false, y: false } },
    hooks: {
      drawAxes: [(plot) => {
        if (spec.kind === 'heatmap') drawHeatmap(plot, panel);
        if (spec.kind === 'waveform') drawWaveform(plot, panel);
      }],
    },
  };
}

function build() {
  for (const panel of panels) panel.plot.destroy();
  const box = find('.panels');
  const width = box.clientWidth;
  box.replaceChildren();
  const shown = clip.panels.filter((spec) => !hidden.has(spec.title));
  panels = shown.map((spec, n) => {
    const panel = { spec, values: spec.data ? panelValues(spec) : null };
    if (spec.kind === 'heatmap') paintHeatmap(panel);
    const holder = document.createElement('figure');
    holder.dataset.panel = spec.title;
    holder.innerHTML = '<figcaption><span></span><output></output></figcaption><div class="plot">'
      + '<i class="selection"></i><i class="pointer"></i><i class="playhead"></i></div>';
    holder.querySelector('span').textContent = spec.unit ? `${spec.title} (${spec.unit})` : spec.title;
    box.append(holder);
    const times = spec.kind === 'line'
      ? Array.from(panel.values, (_, k) => spec.start + (k + 0.5) * spec.step) : [0, duration()];
    const values = spec.kind === 'line' ? Array.from(panel.values, (v) => (Number.isNaN(v) ? null : v))
      : [0, 0];
    panel.holder = holder;
    panel.readout = holder.querySelector('output');
    panel.plot = new uPlot(plotOptions(panel, width, n === shown.length - 1), [times, values],
      holder.querySelector('.plot'));
    return panel;
  });
  place();
}

function redraw() {
  for (const panel of panels) panel.plot.redraw(true, true);
  place();
}

// ---- Marks over the panels: selection, pointer, playhead ----

function toPixel(seconds) {
  const over = panels.length ? panels[0].plot.over : null;
  return over ? AXIS_WIDTH + ((seconds - view[0]) / (view[1] - view[0])) * over.clientWidth : 0;
}

function setMark(holder, name, seconds, end = null) {
  const mark = holder.querySelector(`.${name}`);
  const inView = seconds !== null && (end ?? seconds) >= view[0] && seconds <= view[1];
  mark.hidden = !inView;
  if (!inView) return;
  const left = toPixel(Math.max(seconds, view[0]));
  mark.style.transform = `translateX(${left}px)`;
  if (end !== null) mark.style.width = `${Math.max(1, toPixel(Math.min(end, view[1])) - left)}px`;
}

function place() {
  for (const { holder } of panels) {
    setMark(holder, 'playhead', position);
    setMark(holder, 'pointer', pointer);
    setMark(holder, 'selection', selection && selection[0], selection ? selection[1] : null);
  }
  const text = selection
    ? `${formatTime(selection[0])} to ${formatTime(selection[1])}` : formatTime(position);
  find('[data-value="time"]').textContent = `${text} of ${formatTime(duration())}`;
  const shareShown = (view[1] - view[0]) / duration();
  const scroll = find('[data-control="scroll"]');
  scroll.disabled = shareShown >= 1;
  scroll.value = shareShown >= 1 ? 0 : view[0] / (duration() - (view[1] - view[0]));
  find('[data-action="play"]').textContent = source ? 'Pause' : 'Play';
  find('.viewer').dataset.position = position.toFixed(4);
  find('.viewer').dataset.view = view.map((t) => t.toFixed(4)).join(' ');
}

function describeValue(panel, seconds, row) {
  const { spec, values } = panel;
  if (spec.kind === 'waveform') {
    const samples = audio && audio.getChannelData(0);
    const k = Math.min(clip.samples - 1, Math.max(0, Math.floor(seconds * clip.rate)));
    return samples ? samples[k].toFixed(4) : '';
  }
  const columns = values.length / (spec.rows || 1);
  const column = Math.min(columns - 1, Math.max(0, Math.floor((seconds - spec.start) / spec.step)));
  if (spec.kind === 'line') {
    const value = values[column];
    return Number.isNaN(value) ? 'none' : `${value.toFixed(spec.digits)} ${spec.unit}`;
  }
  if (row === null) return '';
  return `${spec.rowNames[row]} · ${values[row * columns + column].toFixed(1)} ${spec.unit}`;
}

function describePointer(event) {
  for (const panel of panels) {
    const box = panel.plot.over.getBoundingClientRect();
    const isOver = event.clientY >= box.top && event.clientY < box.bottom;
    const share = (box.bottom - event.clientY) / box.height;
    const row = isOver && panel.spec.rows
      ? Math.min(panel.spec.rows - 1, Math.floor(share * panel.spec.rows)) : null;
    panel.readout.textContent = pointer === null ? ''
      : `${formatTime(pointer)} · ${describeValue(panel, pointer, row)}`.replace(/ · $/, '');
  }
}

// ---- Zoom ----

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

// ---- Playback ----

async function loadAudio(current) {
  audio = null;
  const response = await fetch(current.url);
  const bytes = await response.arrayBuffer();
  if (!context || context.sampleRate !== current.rate) {
    if (context) await context.close();
    context = new AudioContext({ sampleRate: current.rate });
  }
  const decoded = await context.decodeAudioData(bytes);
  if (clip !== current) return;
  audio = decoded;
  redraw();
}

function pause() {
  if (!source) return;
  source.onended = null;
  source.stop();
  source = null;
  place();
}

function play(from = position) {
  if (!audio) return;
  pause();
  context.resume();
  const [start, end] = selection || [0, duration()];
  position = from < start || from >= end - 1e-3 ? start : from;
  source = context.createBufferSource();
  source.buffer = audio;
  source.connect(context.destination);
  startedAt = context.currentTime;
  if (isLooping) {
    [source.loop, source.loopStart, source.loopEnd] = [true, start, end];
    source.start(0, position);
  } else {
    source.start(0, position, end - position);
  }
  const started = source;
  const first = position;
  source.onended = () => { if (source === started) { source = null; position = start; place(); } };
  function follow() {
    if (source !== started) return;
    const heard = context.currentTime - startedAt - (context.outputLatency || 0);
    position = first + Math.max(0, heard);
    if (isLooping && position >= end) position = start + ((position - start) % (end - start));
    position = Math.min(position, end);
    if (position > view[1] && !reduced()) setView(position, position + view[1] - view[0]);
    place();
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

// ---- Events ----

function secondsAt(event) {
  const box = panels[0].plot.over.getBoundingClientRect();
  const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  return view[0] + share * (view[1] - view[0]);
}

let dragStart = null; // {x, seconds}

function onDown(event) {
  if (!panels.length || event.button !== 0) return;
  dragStart = { x: event.clientX, seconds: secondsAt(event) };
}

function onMove(event) {
  if (!panels.length) return;
  pointer = secondsAt(event);
  if (dragStart && Math.abs(event.clientX - dragStart.x) > 4) {
    selection = [dragStart.seconds, pointer].sort((a, b) => a - b);
  }
  place();
  describePointer(event);
}

function onUp(event) {
  if (!dragStart) return;
  const wasDrag = Math.abs(event.clientX - dragStart.x) > 4;
  dragStart = null;
  if (wasDrag) {
    seek(selection[0]);
  } else {
    if (selection && (secondsAt(event) < selection[0] || secondsAt(event) > selection[1])) selection = null;
    seek(secondsAt(event));
  }
}

function onWheel(event) {
  if (!clip || !(event.ctrlKey || event.metaKey)) return; // plain wheel scrolls the page
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, secondsAt(event));
}

const actions = {
  play: () => (source ? pause() : play()),
  loop: () => {
    isLooping = !isLooping;
    find('[data-action="loop"]').setAttribute('aria-pressed', String(isLooping));
    if (source) play(position);
  },
  in: () => zoom(0.5),
  out: () => zoom(2),
  fit: () => setView(0, duration()),
  selection: () => selection && setView(...selection),
  clear: () => { selection = null; place(); },
  png: savePng,
};
const keys = { ' ': 'play', l: 'loop', '+': 'in', '=': 'in', '-': 'out', 0: 'fit', s: 'selection', Escape: 'clear' };

function onKey(event) {
  if (!clip || event.target.matches('input, select, button, summary') || event.ctrlKey) return;
  if (event.key === 'ArrowLeft') seek(position - KEY_SEEK_SECONDS);
  else if (event.key === 'ArrowRight') seek(position + KEY_SEEK_SECONDS);
  else if (event.key === 'Home') seek(0);
  else if (keys[event.key]) actions[keys[event.key]]();
  else return;
  event.preventDefault();
}

// ---- PNG ----

function savePng() {
  const canvases = panels.map(({ plot, spec }) => ({ canvas: plot.root.querySelector('canvas'), spec }));
  const line = 18 * devicePixelRatio;
  const picture = document.createElement('canvas');
  picture.width = Math.max(...canvases.map(({ canvas }) => canvas.width));
  picture.height = canvases.reduce((sum, { canvas }) => sum + canvas.height + line + GAP, 0);
  const drawing = picture.getContext('2d');
  drawing.fillStyle = theme('--background');
  drawing.fillRect(0, 0, picture.width, picture.height);
  drawing.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  let top = 0;
  for (const { canvas, spec } of canvases) {
    drawing.fillStyle = theme('--text');
    drawing.fillText(spec.unit ? `${spec.title} (${spec.unit})` : spec.title, 8, top + 0.8 * line);
    drawing.drawImage(canvas, 0, top + line);
    top += canvas.height + line + GAP;
  }
  const link = document.createElement('a');
  link.download = `${clip.name}.png`;
  link.href = picture.toDataURL('image/png');
  link.click();
}

// ---- Start ----

function listPanels() {
  const box = find('[data-list="panels"]');
  box.replaceChildren(...clip.panels.map(({ title }) => {
    const label = document.createElement('label');
    const input = document.createElement('input');
    [input.type, input.checked] = ['checkbox', !hidden.has(title)];
    input.addEventListener('change', () => {
      if (input.checked) hidden.delete(title); else hidden.add(title);
      build();
    });
    label.append(input, ` ${title}`);
    return label;
  }));
}

function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') {
    pause();
    clip = null;
    find('.viewer').dataset.state = 'empty';
    return;
  }
  if (message.dim) { find('.viewer').dataset.state = clip ? 'old' : 'empty'; return; }
  const isSame = clip && clip.url === message.url;
  if (!isSame) {
    pause();
    [position, selection, pointer] = [0, null, null];
  }
  clip = message;
  if (!isSame) view = [0, duration()];
  find('.viewer').dataset.state = 'shown';
  element.closest('.old')?.classList.remove('old');
  find('[data-value="name"]').textContent = clip.partial ? `${clip.name} (partial)` : clip.name;
  for (const panel of clip.panels) if (panel.hidden && !isSame) hidden.add(panel.title);
  listPanels();
  build();
  if (!isSame) loadAudio(clip);
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (button && clip) actions[button.dataset.action]();
});
find('[data-control="scroll"]').addEventListener('input', (event) => {
  const span = view[1] - view[0];
  const start = Number(event.target.value) * (duration() - span);
  setView(start, start + span);
});
for (const name of ['range', 'colours']) {
  find(`[data-control="${name}"]`).addEventListener('input', () => {
    find('[data-value="range"]').textContent = `${find('[data-control="range"]').value} dB`;
    for (const panel of panels) if (panel.spec.kind === 'heatmap') paintHeatmap(panel);
    redraw();
  });
}
const area = find('.panels');
area.addEventListener('pointerdown', onDown);
area.addEventListener('pointermove', onMove);
area.addEventListener('pointerleave', () => { pointer = null; place(); for (const { readout } of panels) readout.textContent = ''; });
window.addEventListener('pointerup', onUp);
area.addEventListener('dblclick', () => actions.fit());
area.addEventListener('wheel', onWheel, { passive: false });
find('.viewer').addEventListener('keydown', onKey);
new ResizeObserver(() => { if (clip && panels.length && area.clientWidth !== panels[0].plot.width) build(); }).observe(area);
// Gradio switches between light and dark with a class of the body.
new MutationObserver(() => { if (clip) build(); }).observe(document.body, { attributeFilter: ['class'] });
watch('value', receive);
receive();
