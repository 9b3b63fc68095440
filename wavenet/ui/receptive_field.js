// Draws the cone of one node: rows are layers, columns are samples. `element`, `props` and `watch`
// come from gr.HTML; the value is made in networks.py. A few paths carry everything, and
// what is under the pointer is computed, so that large networks stay fast.
const SVG = 'http://www.w3.org/2000/svg';
const ROWS = 64; // more layers than this are not drawn
const DENSE = 3000; // more samples of a layer than this are drawn as one bar
const LABELS = 88; // width of the row labels
const AXIS = 26; // height of the line under the picture

let view = null; // the geometry
let node = null; // { layer, time } whose cone is lit
let pinned = null;

// The width inside the box's padding.
function room() {
  const box = element.querySelector('.field');
  const { paddingLeft, paddingRight } = getComputedStyle(box);
  return Math.floor(box.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
}

function layout() {
  const { kernel, dilations, spans, rate, causal } = props.value;
  const width = Math.max(280, room());
  const [oldest, newest] = spans[spans.length - 1];
  const field = newest - oldest + 1;
  const layers = dilations.length;
  const shown = Math.min(layers, ROWS);
  const inner = width - LABELS - 12;
  const isCountable = field + 8 <= inner / 9;
  const columns = isCountable ? Math.min(field * 2, Math.floor(inner / 9)) : Math.ceil(field * 1.25);
  const row = Math.max(9, Math.min(isCountable ? 46 : 34, 520 / shown));
  return { kernel, dilations, spans, rate, causal, newest, width, field, layers, shown, isCountable, columns, row,
    step: inner / columns, height: row * (shown + 1) + AXIS };
}

// The times that a node reads of the layer below, as `Stack.taps` in wavenet/model/reach.py.
function taps(time, layer) {
  const dilation = view.dilations[layer - 1];
  const width = (view.kernel - 1) * dilation;
  const first = time - (view.causal ? width : Math.floor(width / 2));
  return Array.from({ length: view.kernel }, (_, k) => first + k * dilation);
}

const x = (time) => LABELS + (time + 0.5) * view.step;
const y = (layer) => view.row * (view.layers - layer + 0.5);
const lowest = () => view.layers - view.shown;

function make(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The samples that the node can depend on, per layer from its own down: a sorted list of times, or
// [from, to] with isBar where there are too many to tell apart.
function cone() {
  const rows = [{ layer: node.layer, times: [node.time] }];
  let low = node.time;
  let high = node.time;
  let times = [node.time];
  for (let layer = node.layer; layer > lowest(); layer -= 1) {
    low = taps(low, layer)[0];
    high = taps(high, layer)[view.kernel - 1];
    if (times) {
      const next = new Set();
      for (const time of times) taps(time, layer).forEach((tap) => next.add(tap));
      times = next.size > DENSE ? null : [...next].sort((a, b) => a - b);
    }
    rows.push(times ? { layer: layer - 1, times }
      : { layer: layer - 1, times: [low, high], isBar: true });
  }
  return rows;
}

function dots(times, layer) {
  let path = '';
  let last = -Infinity;
  for (const time of times) {
    if (time < 0 || time >= view.columns) continue; // before the clip begins there is silence
    const at = x(time);
    if (at - last < 0.75) continue;
    last = at;
    path += `M${at.toFixed(1)} ${y(layer)}h0.01`;
  }
  return path;
}

function lines(rows) {
  let path = '';
  let count = 0;
  for (const { layer, times, isBar } of rows) {
    if (isBar || layer === lowest() || count > 1500) break;
    for (const time of times) {
      for (const tap of taps(time, layer)) {
        if (Math.min(time, tap) < 0 || Math.max(time, tap) >= view.columns) continue;
        count += 1;
        path += `M${x(time).toFixed(1)} ${y(layer)}L${x(tap).toFixed(1)} ${y(layer - 1)}`;
      }
    }
  }
  return path;
}

function build() {
  view = layout();
  pinned = null;
  const picture = make('svg', { width: view.width, height: view.height, tabindex: 0, role: 'slider',
    viewBox: `0 0 ${view.width} ${view.height}`, 'aria-label': 'Node whose past is lit. Arrow keys '
    + 'move it through samples and layers, Enter pins it.', 'aria-valuemin': 0 });
  let all = '';
  for (let layer = lowest(); layer <= view.layers; layer += 1) {
    if (view.isCountable) all += dots(Array(view.columns).keys(), layer);
    else all += `M${x(0)} ${y(layer)}H${x(view.columns - 1)}`;
    const name = layer === 0 ? 'input' : `${layer === view.layers ? 'output, ' : ''}`
      + `${view.dilations[layer - 1].toLocaleString('en')}`;
    if (view.row >= 14 || layer % 4 === 0 || layer === view.layers) {
      picture.append(make('text', { class: 'name', x: LABELS - 10, y: y(layer) + 4 }, name));
    }
  }
  const size = view.isCountable ? Math.min(11, view.step * 0.62) : 3.5;
  picture.append(
    make('path', { class: view.isCountable ? 'nodes' : 'rails', d: all, 'stroke-width': view.isCountable ? size : 1 }),
    make('path', { class: 'edges' }),
    make('path', { class: 'lit', 'stroke-width': size }),
    make('path', { class: 'bars', 'stroke-width': 3.5 }),
    make('circle', { class: 'apex', r: Math.max(4, size / 2 + 1.5) }),
    make('text', { class: 'axis', x: LABELS, y: view.height - 6 }, 'past'),
    make('text', { class: 'axis end', x: view.width - 12, y: view.height - 6 }, view.causal ? 'now' : 'future'),
  );
  const caption = document.createElement('p');
  caption.setAttribute('aria-live', 'polite');
  const note = document.createElement('p');
  note.className = 'note';
  note.textContent = 'Row labels are dilations. Move over the picture or use the arrow keys; a click or Enter pins.'
    + (view.isCountable ? '' : ' Drawn to scale: several samples share a point.')
    + (view.layers > ROWS ? ` The top ${ROWS} of ${view.layers} layers are drawn.` : '');
  element.querySelector('.field').replaceChildren(picture, caption, note);
  node = { layer: view.layers, time: Math.max(0, view.columns - 1 - view.newest) };
  light();
}

function milliseconds(samples) {
  const time = 1000 * samples / view.rate;
  return `${time.toLocaleString('en', time >= 1 ? { minimumFractionDigits: 1, maximumFractionDigits: 1 }
    : { maximumSignificantDigits: 2 })} ms`;
}

function light() {
  const rows = cone();
  const put = (name, path) => element.querySelector(name).setAttribute('d', path);
  put('.edges', lines(rows));
  put('.lit', rows.filter((r) => !r.isBar).map((r) => dots(r.times, r.layer)).join(''));
  put('.bars', rows.filter((r) => r.isBar && r.times[1] >= 0)
    .map((r) => `M${x(Math.max(0, r.times[0]))} ${y(r.layer)}H${x(Math.min(view.columns - 1, r.times[1]))}`).join(''));
  const apex = element.querySelector('.apex');
  apex.setAttribute('cx', x(node.time));
  apex.setAttribute('cy', y(node.layer));
  apex.classList.toggle('pinned', pinned !== null);
  const [oldest, newest] = view.spans[node.layer];
  const size = newest - oldest + 1;
  const missing = -(node.time + oldest);
  const place = node.layer === 0 ? 'The input' : node.layer === view.layers ? 'The output' : `Layer ${node.layer}`;
  const count = (n) => n.toLocaleString('en');
  const text = `${place} at sample ${count(node.time)} ${view.causal ? 'reaches back over' : 'sees'} ${count(size)}`
    + ` sample${size === 1 ? '' : 's'} (${milliseconds(size)})`
    + (newest > 0 ? `, ${count(newest)} of them after it: it cannot be made in order of time` : '')
    + (missing > 0 ? `, ${count(missing)} of them before the beginning` : '')
    + (pinned ? '; pinned.' : '.');
  element.querySelector('p').textContent = text;
  const picture = element.querySelector('svg');
  picture.setAttribute('aria-valuemax', view.columns - 1);
  picture.setAttribute('aria-valuenow', node.time);
  picture.setAttribute('aria-valuetext', text);
}

function move(layer, time) {
  node = { layer: Math.max(lowest(), Math.min(view.layers, layer)),
    time: Math.max(0, Math.min(view.columns - 1, time)) };
  light();
}

function point(event) {
  const box = element.querySelector('svg').getBoundingClientRect();
  move(view.layers - Math.floor((event.clientY - box.top) / view.row),
    Math.floor((event.clientX - box.left - LABELS) / view.step));
}

const isInside = (event) => event.target.closest && event.target.closest('svg');
element.addEventListener('pointermove', (event) => { if (isInside(event) && !pinned) point(event); });
element.addEventListener('click', (event) => {
  if (!isInside(event)) return;
  point(event);
  pinned = pinned && pinned.layer === node.layer && pinned.time === node.time ? null : { ...node };
  light();
});
element.addEventListener('keydown', (event) => {
  if (!isInside(event)) return;
  const leap = view.isCountable ? 1 : Math.ceil(view.columns / 100);
  const moves = { ArrowLeft: [0, -leap], ArrowRight: [0, leap], ArrowUp: [1, 0], ArrowDown: [-1, 0],
    Home: [0, -view.columns], End: [0, view.columns] };
  if (event.key === 'Enter' || event.key === ' ') pinned = pinned ? null : { ...node };
  else if (event.key === 'Escape') pinned = null;
  else if (!moves[event.key]) return;
  else {
    move(node.layer + moves[event.key][0], node.time + moves[event.key][1]);
    if (pinned) pinned = { ...node };
  }
  event.preventDefault();
  light();
});

watch('value', build);
let drawn = 0;
new ResizeObserver(() => {
  const width = room();
  if (width > 0 && width !== drawn) { drawn = width; build(); }
}).observe(element.querySelector('.field'));
build();
