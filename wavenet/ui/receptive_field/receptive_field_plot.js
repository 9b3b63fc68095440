// Plots the receptive field of one node as a cone: rows are layers, columns are samples. `element`,
// `props` and `watch` come from gr.HTML; network_facts.py builds the value. All nodes share a few SVG
// paths, and the node under the pointer is computed, so that large networks stay fast.
const MAX_ROWS = 64; // number of top layers that are drawn
const MAX_DOTS = 3000; // a layer with more samples is drawn as one bar
const LABELS = 104; // width of the row labels
const AXIS = 26; // height of the text line below the plot

const box = element.querySelector('.plot');
let view = null; // see layout
let node = null; // { layer, time } whose cone is highlighted
let pinned = null;

function layout() {
  const { kernel, dilations, spans, rate, causal } = props.value;
  const width = Math.max(280, innerWidth(box));
  const [oldest, newest] = spans[spans.length - 1];
  const field = newest - oldest + 1;
  const layers = dilations.length;
  const shown = Math.min(layers, MAX_ROWS);
  const inner = width - LABELS - 12;
  const isCountable = field + 8 <= inner / 9;
  const columns = isCountable ? Math.min(field * 2, Math.floor(inner / 9)) : Math.ceil(field * 1.25);
  const row = Math.max(9, Math.min(isCountable ? 46 : 34, 520 / shown));
  return { kernel, dilations, spans, rate, causal, newest, width, field, layers, shown, isCountable, columns, row,
    step: inner / columns, height: row * (shown + 1) + AXIS };
}

// Times of the nodes in the layer below that a node reads: the same rule as `ConvolutionStack.taps` in
// wavenet/model/convolution_geometry.py.
function taps(time, layer) {
  const dilation = view.dilations[layer - 1];
  const width = (view.kernel - 1) * dilation;
  const first = time - (view.causal ? width : Math.floor(width / 2));
  return Array.from({ length: view.kernel }, (_, k) => first + k * dilation);
}

const x = (time) => LABELS + (time + 0.5) * view.step;
const y = (layer) => view.row * (view.layers - layer + 0.5);
const lowest = () => view.layers - view.shown;

// Nodes that the current node depends on, for each layer, from that of the node down to the lowest:
// a sorted list of times, or [from, to] with isBar if there are too many.
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
      times = next.size > MAX_DOTS ? null : [...next].sort((a, b) => a - b);
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
    if (time < 0 || time >= view.columns) continue; // outside the plot
    const center = x(time);
    if (center - last < 0.75) continue;
    last = center;
    path += `M${center.toFixed(1)} ${y(layer)}h0.01`;
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
  const svg = makeSvg('svg', { width: view.width, height: view.height, tabindex: 0, role: 'slider',
    viewBox: `0 0 ${view.width} ${view.height}`, 'aria-label': 'Node whose receptive field is '
    + 'highlighted. Arrow keys move it through samples and layers, Enter pins it.', 'aria-valuemin': 0 });
  let all = '';
  for (let layer = lowest(); layer <= view.layers; layer += 1) {
    if (view.isCountable) all += dots(Array(view.columns).keys(), layer);
    else all += `M${x(0)} ${y(layer)}H${x(view.columns - 1)}`;
    const name = layer === 0 ? 'input' : `${layer === view.layers ? 'output, ' : ''}`
      + `${view.dilations[layer - 1].toLocaleString('en')}`;
    if (view.row >= 14 || layer % 4 === 0 || layer === view.layers) {
      svg.append(makeSvg('text', { class: 'name', x: LABELS - 10, y: y(layer) + 4 }, name));
    }
  }
  const size = view.isCountable ? Math.min(11, view.step * 0.62) : 3.5;
  svg.append(
    makeSvg('path', { class: view.isCountable ? 'nodes' : 'rails', d: all, 'stroke-width': view.isCountable ? size : 1 }),
    makeSvg('path', { class: 'edges' }),
    makeSvg('path', { class: 'cone', 'stroke-width': size }),
    makeSvg('path', { class: 'bars', 'stroke-width': 3.5 }),
    makeSvg('circle', { class: 'apex', r: Math.max(4, size / 2 + 1.5) }),
    makeSvg('text', { class: 'axis', x: LABELS, y: view.height - 6 }, 'past'),
    makeSvg('text', { class: 'axis end', x: view.width - 12, y: view.height - 6 }, view.causal ? 'now' : 'future'),
  );
  const caption = document.createElement('p');
  const note = document.createElement('p');
  note.className = 'note';
  note.textContent = 'Row labels are dilations. Move the pointer over the plot or use the arrow keys; a click or Enter pins.'
    + (view.isCountable ? '' : ' Several samples share a point.')
    + (view.layers > MAX_ROWS ? ` Shows the top ${MAX_ROWS} of ${view.layers} layers.` : '');
  box.replaceChildren(svg, caption, note);
  node = { layer: view.layers, time: Math.max(0, view.columns - 1 - view.newest) };
  highlight();
}

function highlight() {
  const rows = cone();
  const put = (name, path) => element.querySelector(name).setAttribute('d', path);
  put('.edges', lines(rows));
  put('.cone', rows.filter((r) => !r.isBar).map((r) => dots(r.times, r.layer)).join(''));
  put('.bars', rows.filter((r) => r.isBar && r.times[1] >= 0)
    .map((r) => `M${x(Math.max(0, r.times[0]))} ${y(r.layer)}H${x(Math.min(view.columns - 1, r.times[1]))}`).join(''));
  const apex = element.querySelector('.apex');
  apex.setAttribute('cx', x(node.time));
  apex.setAttribute('cy', y(node.layer));
  apex.classList.toggle('pinned', pinned !== null);
  const [oldest, newest] = view.spans[node.layer];
  const size = newest - oldest + 1;
  const missing = -(node.time + oldest);
  const name = node.layer === 0 ? 'The input' : node.layer === view.layers ? 'The output' : `Layer ${node.layer}`;
  const text = `${name} at sample ${formatCount(node.time)} depends on ${formatCount(size)}`
    + ` sample${size === 1 ? '' : 's'} (${formatMilliseconds(size, view.rate)})`
    + (newest > 0 ? `, ${formatCount(newest)} of them in the future: it cannot be generated in order of time` : '')
    + (missing > 0 ? `, ${formatCount(missing)} of them before the first sample` : '')
    + (pinned ? '; pinned.' : '.');
  element.querySelector('p').textContent = text;
  const svg = element.querySelector('svg');
  svg.setAttribute('aria-valuemax', view.columns - 1);
  svg.setAttribute('aria-valuenow', node.time);
  svg.setAttribute('aria-valuetext', text);
}

function select(layer, time) {
  node = { layer: Math.max(lowest(), Math.min(view.layers, layer)),
    time: Math.max(0, Math.min(view.columns - 1, time)) };
  highlight();
}

function selectAtPointer(event) {
  const { left, top } = element.querySelector('svg').getBoundingClientRect();
  select(view.layers - Math.floor((event.clientY - top) / view.row),
    Math.floor((event.clientX - left - LABELS) / view.step));
}

const isInside = (event) => event.target.closest && event.target.closest('svg');
element.addEventListener('pointermove', (event) => { if (isInside(event) && !pinned) selectAtPointer(event); });
element.addEventListener('click', (event) => {
  if (!isInside(event)) return;
  selectAtPointer(event);
  pinned = pinned && pinned.layer === node.layer && pinned.time === node.time ? null : { ...node };
  highlight();
});
element.addEventListener('keydown', (event) => {
  if (!isInside(event)) return;
  const stride = view.isCountable ? 1 : Math.ceil(view.columns / 100);
  const moves = { ArrowLeft: [0, -stride], ArrowRight: [0, stride], ArrowUp: [1, 0], ArrowDown: [-1, 0],
    Home: [0, -view.columns], End: [0, view.columns] };
  if (event.key === 'Enter' || event.key === ' ') pinned = pinned ? null : { ...node };
  else if (event.key === 'Escape') pinned = null;
  else if (!moves[event.key]) return;
  else {
    select(node.layer + moves[event.key][0], node.time + moves[event.key][1]);
    if (pinned) pinned = { ...node };
  }
  event.preventDefault();
  highlight();
});

watch('value', build);
drawAtWidth(box, build);
