// What plots over the age of a sample share: a logarithmic axis with the newest sample at the right,
// levels in dB, and the selection of a bin. The script of a plot, which follows, defines `box`, `data`
// (edges, field, rate, floor), `view` (inner; null: nothing to select), and `show`, which shows the
// selected bin.
const LEFT = 58; // width of the level labels
const RIGHT = 50; // width of the labels at the right
const TOP = 24;
const HEIGHT = 300;
const BOTTOM = HEIGHT - 54; // the x axis has two rows of labels
const NEWEST = 0.7; // right end of the x axis, in samples before the prediction

function showText(text, isError) {
  const line = document.createElement('p');
  line.className = isError ? 'error' : 'note';
  line.setAttribute('role', isError ? 'alert' : 'status');
  line.textContent = text;
  box.replaceChildren(line);
}

let current = 0; // index of the selected bin
let pinned = false;

const oldest = () => Math.max(2, data.field * 1.5);
const x = (lag) => LEFT + view.inner * Math.log(oldest() / lag) / Math.log(oldest() / NEWEST);
const yLevel = (level) => TOP + (BOTTOM - TOP) * level / data.floor;
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

function drawLevels() {
  const parts = [];
  for (let level = 0; level >= data.floor; level -= 20) {
    parts.push(makeSvg('path', { class: 'grid', d: `M${LEFT} ${yLevel(level)}H${LEFT + view.inner}` }));
    parts.push(makeSvg('text', { class: 'end', x: LEFT - 8, y: yLevel(level) + 4 },
      level ? `−${-level} dB` : '0 dB'));
  }
  return parts;
}

function drawAges() {
  const parts = [];
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

// Marks some ages with a label each: [label, age, class], the newest first.
function drawMarks(wanted) {
  const parts = [];
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

// Facts above a plot: [name, samples] each, with the time that they last.
function listSamples(facts) {
  const list = document.createElement('dl');
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
  return list;
}

const nameBin = (n) => {
  const [first, last] = [data.edges[n], data.edges[n + 1] - 1];
  return first === last ? `Sample −${formatCount(first)}` : `Samples −${formatCount(first)} to −${formatCount(last)}`;
};

// Places the cursor and the dot of the selected bin at a level, and describes it.
function showSelection(level, text) {
  const [right, left] = binEnds(current);
  const position = (right + left) / 2;
  element.querySelector('.cursor').setAttribute('d', `M${position} ${TOP}V${BOTTOM}`);
  const dot = element.querySelector('.dot');
  dot.setAttribute('cx', position);
  dot.setAttribute('cy', yLevel(level));
  dot.classList.toggle('pinned', pinned);
  element.querySelector('.caption').textContent = text;
  const svg = box.querySelector('svg');
  svg.setAttribute('aria-valuenow', data.edges[current + 1] - 1);
  svg.setAttribute('aria-valuetext', text);
}

const formatLevel = (level) => (level <= data.floor ? `below −${-data.floor} dB` : `${level.toFixed(1).replace('-', '−')} dB`);

function select(bin) {
  current = Math.max(0, Math.min(data.edges.length - 2, bin));
  show();
}

function selectAtPointer(event) {
  const position = event.clientX - box.querySelector('svg').getBoundingClientRect().left;
  const bin = data.edges.slice(1).findIndex((_, n) => binEnds(n)[1] <= position);
  select(bin < 0 ? Infinity : bin);
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
