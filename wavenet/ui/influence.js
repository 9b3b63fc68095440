// Draws how much the past samples matter to a prediction, over the theoretical receptive field: to the
// right is now, and the past is drawn by its logarithm. The value is made in influence.py.
const SVG = 'http://www.w3.org/2000/svg';
const LEFT = 58; // room for the levels
const RIGHT = 50; // and for the shares
const TOP = 24;
const HEIGHT = 300;
const BOTTOM = HEIGHT - 54; // below it stand two rows of the axis
const NEWEST = 0.7; // where the axis ends, in samples before the prediction

const box = element.querySelector('.field');
let data = null;
let view = null;
let at = 0; // the bin in view
let pinned = false;

function make(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function tell(text, kind) {
  const line = document.createElement('p');
  line.className = kind;
  line.setAttribute('role', kind === 'fault' ? 'alert' : 'status');
  line.textContent = text;
  box.replaceChildren(line);
}

// The width inside the box's padding.
function room() {
  const { paddingLeft, paddingRight } = getComputedStyle(box);
  return Math.floor(box.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
}

const count = (n) => n.toLocaleString('en');
function milliseconds(samples) {
  const time = 1000 * samples / data.rate;
  return `${time.toLocaleString('en', time >= 1 ? { maximumFractionDigits: 1 } : { maximumSignificantDigits: 2 })} ms`;
}

const oldest = () => Math.max(2, data.field * 1.5);
const x = (lag) => LEFT + view.inner * Math.log(oldest() / lag) / Math.log(oldest() / NEWEST);
const yLevel = (level) => TOP + (BOTTOM - TOP) * level / data.floor;
const yShare = (share) => BOTTOM - (BOTTOM - TOP) * share;
// A bin of one sample reaches half a sample to both sides.
const sides = (n) => [x(data.edges[n] - 0.5 < NEWEST ? NEWEST : data.edges[n] - 0.5), x(data.edges[n + 1] - 0.5)];

// 1, 10, 100, ..; also 2 and 5 of each where they have room.
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

function axis() {
  const parts = [make('rect', { class: 'theory', x: x(data.field + 0.5), y: TOP,
    width: x(NEWEST) - x(data.field + 0.5), height: BOTTOM - TOP })];
  for (let level = 0; level >= data.floor; level -= 20) {
    parts.push(make('path', { class: 'grid', d: `M${LEFT} ${yLevel(level)}H${LEFT + view.inner}` }));
    parts.push(make('text', { class: 'end', x: LEFT - 8, y: yLevel(level) + 4 },
      level ? `−${-level} dB` : '0 dB'));
    parts.push(make('text', { class: 'share', x: LEFT + view.inner + 8, y: yLevel(level) + 4 },
      `${Math.round(100 * (1 - level / data.floor))} %`));
  }
  const sample = 1000 / data.rate;
  const rows = [['samples', 20, (value) => value, 1], ['ms', 38, (value) => value / sample, sample * NEWEST]];
  for (const [unit, down, lag, first] of rows) {
    parts.push(make('text', { class: 'end', x: LEFT - 8, y: BOTTOM + down }, unit));
    for (const value of ticks(first, oldest() * (unit === 'ms' ? sample : 1))) {
      const place = x(lag(value));
      if (place < LEFT + 4) continue;
      if (unit === 'samples') parts.push(make('path', { class: 'tick', d: `M${place} ${BOTTOM}v4` }));
      parts.push(make('text', { class: 'middle', x: place, y: BOTTOM + down },
        value.toLocaleString('en', { maximumSignificantDigits: 3 })));
    }
  }
  return parts;
}

function marks() {
  const parts = [];
  const wanted = [...data.spans.slice(1).map(([share, lag]) => [`${Math.round(share * 100)} %`, lag, 'mark']),
    [view.inner > 400 ? 'receptive field' : 'field', data.field, 'edge']];
  let free = Infinity; // from right to left: a label that has no room goes without
  for (const [label, lag, kind] of wanted) {
    const place = x(lag + 0.5);
    parts.push(make('path', { class: kind, d: `M${place} ${TOP - 4}V${BOTTOM}` }));
    const room = label.length * 3.6;
    if (place + room < free) {
      parts.push(make('text', { class: 'middle', x: Math.max(place, LEFT + room - 30), y: TOP - 9 }, label));
      free = place - room;
    }
  }
  return parts;
}

function build() {
  data = props.value;
  if (!data || data.edges === undefined) {
    view = null;
    if (data && data.error) tell(data.error, 'fault');
    else if (data && data.busy) tell(data.busy, 'note');
    else tell('Press Listen: the model writes a few clips, and the curve of what it listened to appears here.', 'note');
    return;
  }
  const width = Math.max(280, room());
  const isNew = !view;
  view = { width, inner: width - LEFT - RIGHT };
  const bins = data.level.length;
  if (isNew) { at = data.held.findIndex((share) => share >= data.spans[1][0]); pinned = false; }
  at = Math.max(0, Math.min(at, bins - 1));
  let curve = `M${sides(0)[0]} ${BOTTOM}`;
  let shares = '';
  for (let n = 0; n < bins; n += 1) {
    const [right, left] = sides(n).map((v) => v.toFixed(1));
    curve += `L${right} ${yLevel(data.level[n]).toFixed(1)}H${left}`;
    shares += `${n ? 'L' : 'M'}${left} ${yShare(data.held[n]).toFixed(1)}`;
  }
  const picture = make('svg', { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, tabindex: 0,
    role: 'slider', 'aria-label': 'Sample before the prediction. Arrow keys move, Home is the newest, '
    + 'End the oldest, Enter pins.', 'aria-valuemin': 1, 'aria-valuemax': data.field });
  picture.append(...axis(), make('path', { class: 'curve', d: `${curve}V${BOTTOM}Z` }),
    make('path', { class: 'shares', d: shares }), ...marks(), make('path', { class: 'cursor' }),
    make('circle', { class: 'dot', r: 4 }));
  const list = document.createElement('dl');
  const facts = [['Receptive field', data.field], ...data.spans.map(([share, lag]) => [`${Math.round(share * 100)} % of influence`, lag])];
  for (const [name, samples] of facts) {
    const pair = document.createElement('div');
    for (const [tag, text] of [['dt', name], ['dd', `${count(samples)} sample${samples === 1 ? '' : 's'}`],
      ['dd', milliseconds(samples)]]) {
      const cell = document.createElement(tag);
      cell.textContent = text;
      pair.append(cell);
    }
    list.append(pair);
  }
  const legend = document.createElement('p');
  legend.className = 'legend';
  legend.innerHTML = '<span><i class="key level"></i>influence of a sample</span>'
    + '<span><i class="key held"></i>share of all influence up to there</span>'
    + '<span><i class="key could"></i>what the network can hear</span>';
  const caption = document.createElement('p');
  caption.className = 'caption';
  caption.setAttribute('aria-live', 'polite');
  const note = document.createElement('p');
  note.className = 'note';
  note.textContent = `${data.name}: mean of ${data.outputs} predictions`
    + `${data.outputs < data.planned ? ` of ${data.planned}` : ''} in ${data.source}. Influence in dB below `
    + 'the strongest sample; the newest samples, to the right, are drawn wider.';
  const hadFocus = box.contains(document.activeElement);
  box.replaceChildren(list, legend, picture, caption, note);
  if (hadFocus) picture.focus();
  show();
}

function show() {
  const [first, behind] = [data.edges[at], data.edges[at + 1]];
  const last = behind - 1;
  const [right, left] = sides(at);
  const place = (right + left) / 2;
  element.querySelector('.cursor').setAttribute('d', `M${place} ${TOP}V${BOTTOM}`);
  const dot = element.querySelector('.dot');
  dot.setAttribute('cx', place);
  dot.setAttribute('cy', yLevel(data.level[at]));
  dot.classList.toggle('pinned', pinned);
  const which = first === last ? `Sample ${count(first)} before` : `Samples ${count(first)} to ${count(last)} before`;
  const level = data.level[at] <= data.floor ? `below −${-data.floor} dB` : `${data.level[at].toFixed(1).replace('-', '−')} dB`;
  const text = `${which} (${milliseconds(last)}): ${level}; the newest ${count(last)} have ${(100 * data.held[at]).toFixed(1)} %`
    + ` of all influence${pinned ? '; pinned.' : '.'}`;
  element.querySelector('.caption').textContent = text;
  const picture = element.querySelector('svg');
  picture.setAttribute('aria-valuenow', last);
  picture.setAttribute('aria-valuetext', text);
}

function move(bin) {
  at = Math.max(0, Math.min(data.level.length - 1, bin));
  show();
}

function point(event) {
  const place = event.clientX - element.querySelector('svg').getBoundingClientRect().left;
  const bin = data.level.findIndex((_, n) => sides(n)[1] <= place);
  move(bin < 0 ? data.level.length - 1 : bin);
}

const isInside = (event) => view && event.target.closest && event.target.closest('svg');
element.addEventListener('pointermove', (event) => { if (isInside(event) && !pinned) point(event); });
element.addEventListener('click', (event) => {
  if (!isInside(event)) return;
  const before = at;
  point(event);
  pinned = !(pinned && at === before);
  show();
});
element.addEventListener('keydown', (event) => {
  if (!isInside(event)) return;
  const moves = { ArrowLeft: at + 1, ArrowRight: at - 1, ArrowUp: at + 1, ArrowDown: at - 1,
    PageUp: at + 10, PageDown: at - 10, Home: 0, End: Infinity };
  if (event.key === 'Enter' || event.key === ' ') { pinned = !pinned; show(); }
  else if (event.key === 'Escape') { pinned = false; show(); }
  else if (event.key in moves) move(moves[event.key]);
  else return;
  event.preventDefault();
});

watch('value', build);
let drawn = 0;
new ResizeObserver(() => {
  const width = room();
  if (width > 0 && width !== drawn) { drawn = width; build(); }
}).observe(box);
build();
