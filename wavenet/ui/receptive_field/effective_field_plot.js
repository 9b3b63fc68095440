// Plots the influence of past samples on a prediction over the theoretical receptive field. The x axis
// is logarithmic, with the newest sample at the right. influence_measurement.py builds the value. If
// the receptive field is unlimited, the samples up to a horizon are plotted.
const LEFT = 58; // width of the level labels
const RIGHT = 50; // width of the share labels
const TOP = 24;
const HEIGHT = 300;
const BOTTOM = HEIGHT - 54; // the x axis has two rows of labels
const NEWEST = 0.7; // right end of the x axis, in samples before the prediction

const box = element.querySelector('.plot');
let data = null;
let view = null;
let current = 0; // index of the selected bin
let pinned = false;

function showText(text, isError) {
  const line = document.createElement('p');
  line.className = isError ? 'error' : 'note';
  line.setAttribute('role', isError ? 'alert' : 'status');
  line.textContent = text;
  box.replaceChildren(line);
}

const limitName = () => (data.limited ? 'receptive field' : 'horizon');
const oldest = () => Math.max(2, data.field * 1.5);
const x = (lag) => LEFT + view.inner * Math.log(oldest() / lag) / Math.log(oldest() / NEWEST);
const yLevel = (level) => TOP + (BOTTOM - TOP) * level / data.floor;
const yShare = (share) => BOTTOM - (BOTTOM - TOP) * share;
// Left and right end of a bin; a bin of one sample is one sample wide.
const binEnds = (n) => [x(data.edges[n] - 0.5 < NEWEST ? NEWEST : data.edges[n] - 0.5), x(data.edges[n + 1] - 0.5)];

// 1, 10, 100, ..; with their multiples 2 and 5 on a wide plot.
function ticks(first, last) {
  const found = [];
  for (let power = Math.floor(Math.log10(first)); 10 ** power <= last; power += 1) {
    for (const digit of view.inner > 560 ? [1, 2, 5] : [1]) {
      const value = digit * 10 ** power;
      if (value >= first && value <= last) found.push(value);
    }
  }
  return found;
}

function drawAxes() {
  const parts = [makeSvg('rect', { class: 'theory', x: x(data.field + 0.5), y: TOP,
    width: x(NEWEST) - x(data.field + 0.5), height: BOTTOM - TOP })];
  for (let level = 0; level >= data.floor; level -= 20) {
    parts.push(makeSvg('path', { class: 'grid', d: `M${LEFT} ${yLevel(level)}H${LEFT + view.inner}` }));
    parts.push(makeSvg('text', { class: 'end', x: LEFT - 8, y: yLevel(level) + 4 },
      level ? `−${-level} dB` : '0 dB'));
    parts.push(makeSvg('text', { class: 'share', x: LEFT + view.inner + 8, y: yLevel(level) + 4 },
      `${Math.round(100 * (1 - level / data.floor))} %`));
  }
  const sample = 1000 / data.rate;
  const rows = [['samples', 20, (value) => value, 1], ['ms', 38, (value) => value / sample, sample * NEWEST]];
  for (const [unit, down, lag, first] of rows) {
    parts.push(makeSvg('text', { class: 'end', x: LEFT - 8, y: BOTTOM + down }, unit));
    for (const value of ticks(first, oldest() * (unit === 'ms' ? sample : 1))) {
      const position = x(lag(value));
      if (position < LEFT + 4) continue;
      if (unit === 'samples') parts.push(makeSvg('path', { class: 'tick', d: `M${position} ${BOTTOM}v4` }));
      parts.push(makeSvg('text', { class: 'middle', x: position, y: BOTTOM + down },
        value.toLocaleString('en', { maximumSignificantDigits: 3 })));
    }
  }
  return parts;
}

function drawMarkers() {
  const parts = [];
  const wanted = [...data.lag_by_fraction.slice(1).map(([share, lag]) => [`${Math.round(share * 100)} %`, lag, 'mark']),
    [view.inner > 400 || !data.limited ? limitName() : 'field', data.field, 'field-end']];
  let free = Infinity; // right end of the free space; a label without space is omitted
  for (const [label, lag, kind] of wanted) {
    const position = x(lag + 0.5);
    parts.push(makeSvg('path', { class: kind, d: `M${position} ${TOP - 4}V${BOTTOM}` }));
    const half = label.length * 3.6; // approximate width in pixels
    if (position + half < free) {
      parts.push(makeSvg('text', { class: 'middle', x: Math.max(position, LEFT + half - 30), y: TOP - 9 }, label));
      free = position - half;
    }
  }
  return parts;
}

function build() {
  data = props.value;
  if (!data || data.edges === undefined) {
    view = null;
    if (data && data.error) showText(data.error, true);
    else if (data && data.busy) showText(data.busy, false);
    else showText('Press Measure influence: the model generates a few clips, and the curve appears here.', false);
    return;
  }
  const width = Math.max(280, innerWidth(box));
  const isNew = !view;
  view = { width, inner: width - LEFT - RIGHT };
  const bins = data.level.length;
  if (isNew) { current = data.cumulative.findIndex((share) => share >= data.lag_by_fraction[1][0]); pinned = false; }
  current = Math.max(0, Math.min(current, bins - 1));
  let curve = `M${binEnds(0)[0]} ${BOTTOM}`;
  let shares = '';
  for (let n = 0; n < bins; n += 1) {
    const [right, left] = binEnds(n).map((v) => v.toFixed(1));
    curve += `L${right} ${yLevel(data.level[n]).toFixed(1)}H${left}`;
    shares += `${n ? 'L' : 'M'}${left} ${yShare(data.cumulative[n]).toFixed(1)}`;
  }
  const svg = makeSvg('svg', { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, tabindex: 0,
    role: 'slider', 'aria-label': 'Sample before the prediction. Arrow keys move, Home selects the newest, '
    + 'End the oldest, Enter pins the selection.', 'aria-valuemin': 1, 'aria-valuemax': data.field });
  svg.append(...drawAxes(), makeSvg('path', { class: 'curve', d: `${curve}V${BOTTOM}Z` }),
    makeSvg('path', { class: 'shares', d: shares }), ...drawMarkers(), makeSvg('path', { class: 'cursor' }),
    makeSvg('circle', { class: 'dot', r: 4 }));
  const list = document.createElement('dl');
  const facts = [[data.limited ? 'Receptive field' : 'Horizon', data.field], ...data.lag_by_fraction.map(([share, lag]) => [`${Math.round(share * 100)} % of influence`, lag])];
  for (const [name, samples] of facts) {
    const pair = document.createElement('div');
    for (const [tag, text] of [['dt', name], ['dd', `${formatCount(samples)} sample${samples === 1 ? '' : 's'}`],
      ['dd', formatMilliseconds(samples, data.rate)]]) {
      const cell = document.createElement(tag);
      cell.textContent = text;
      pair.append(cell);
    }
    list.append(pair);
  }
  const legend = document.createElement('p');
  legend.className = 'legend';
  legend.innerHTML = '<span><i class="key level"></i>influence of a sample</span>'
    + '<span><i class="key cumulative"></i>cumulative fraction of all influence</span>'
    + `<span><i class="key theory"></i>${limitName()}</span>`;
  const caption = document.createElement('p');
  caption.className = 'caption';
  const note = document.createElement('p');
  note.className = 'note';
  note.textContent = `${data.name}: mean of ${data.predictions} predictions`
    + `${data.predictions < data.planned ? ` of ${data.planned}` : ''} in ${data.source}. Influence in dB relative `
    + 'to the strongest sample. The time axis is logarithmic.';
  const hadFocus = box.contains(document.activeElement);
  box.replaceChildren(list, legend, svg, caption, note);
  if (hadFocus) svg.focus();
  show();
}

function show() {
  const first = data.edges[current];
  const last = data.edges[current + 1] - 1;
  const [right, left] = binEnds(current);
  const position = (right + left) / 2;
  element.querySelector('.cursor').setAttribute('d', `M${position} ${TOP}V${BOTTOM}`);
  const dot = element.querySelector('.dot');
  dot.setAttribute('cx', position);
  dot.setAttribute('cy', yLevel(data.level[current]));
  dot.classList.toggle('pinned', pinned);
  const samples = first === last ? `Sample −${formatCount(first)}` : `Samples −${formatCount(first)} to −${formatCount(last)}`;
  const level = data.level[current] <= data.floor ? `below −${-data.floor} dB` : `${data.level[current].toFixed(1).replace('-', '−')} dB`;
  const text = `${samples} (${formatMilliseconds(last, data.rate)} before the prediction): ${level}. The newest ${formatCount(last)}`
    + ` have ${(100 * data.cumulative[current]).toFixed(1)} % of all influence${pinned ? '; pinned.' : '.'}`;
  element.querySelector('.caption').textContent = text;
  const svg = element.querySelector('svg');
  svg.setAttribute('aria-valuenow', last);
  svg.setAttribute('aria-valuetext', text);
}

function select(bin) {
  current = Math.max(0, Math.min(data.level.length - 1, bin));
  show();
}

function selectAtPointer(event) {
  const position = event.clientX - element.querySelector('svg').getBoundingClientRect().left;
  const bin = data.level.findIndex((_, n) => binEnds(n)[1] <= position);
  select(bin < 0 ? data.level.length - 1 : bin);
}

const isInside = (event) => view && event.target.closest && event.target.closest('svg');
element.addEventListener('pointermove', (event) => { if (isInside(event) && !pinned) selectAtPointer(event); });
element.addEventListener('click', (event) => {
  if (!isInside(event)) return;
  const before = current;
  selectAtPointer(event);
  pinned = !(pinned && current === before);
  show();
});
element.addEventListener('keydown', (event) => {
  if (!isInside(event)) return;
  const moves = { ArrowLeft: current + 1, ArrowRight: current - 1, ArrowUp: current + 1, ArrowDown: current - 1,
    PageUp: current + 10, PageDown: current - 10, Home: 0, End: Infinity };
  if (event.key === 'Enter' || event.key === ' ') { pinned = !pinned; show(); }
  else if (event.key === 'Escape') { pinned = false; show(); }
  else if (event.key in moves) select(moves[event.key]);
  else return;
  event.preventDefault();
});

watch('value', build);
drawAtWidth(box, build);
