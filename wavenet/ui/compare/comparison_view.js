// Shows a comparison, and selects a member and a budget. `element`, `props`, `trigger` and `watch`
// come from gr.HTML; comparison_message.py builds the value. bits_plot.js and cost_plot.js draw, and
// are part of the same script. The server receives each selection, and shows the clip of the member.
const POINTER_PX = 28; // a mark is pointed at up to this distance
const FIRST_MEMBER = 'wavenet';
const SHOW_PAUSE_MS = 200;

let data = null; // the message, with the names of its members
let selected = null; // a row
let speedKind = 'fastest';
let marks = [];
let showTimer;

const find = (selector) => element.querySelector(selector);

function makeElement(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const formatSpeed = (value) => (value ? formatCount(Math.round(value)) : '–');

function describeRow(row) {
  const interval = row.interval ? ` (${row.interval.map((v) => v.toFixed(3)).join(' to ')})` : '';
  return `${row.title}, ${row.budget}: ${row.bits.toFixed(3)} bits per sample${interval}, `
    + `${formatSpeed(row.speeds[speedKind])} samples/s ${speedKind}`;
}

function drawPlots() {
  const figure = find('.bits').parentElement;
  const width = Math.max(280, innerWidth(figure));
  if (!data || !figure.clientWidth) return;
  marks = drawBits(find('.bits'), width);
  find('.costs').hidden = !selected.costs.length;
  if (selected.costs.length) drawCosts(find('.cost'), selected.costs, Math.min(width, 620));
}

function listChoices() {
  const buttons = data.members.map((name, n) => {
    const button = makeElement('button', '', { type: 'button', 'data-member': name });
    const key = makeSvg('svg', { width: 14, height: 14, viewBox: '0 0 14 14', 'aria-hidden': 'true' });
    key.append(makeSvg('path', { style: `fill: ${memberColour(n)}`, d: markPath(n, 7, 7, 5) }));
    button.append(key, data.rows.find((row) => row.member === name).title);
    return button;
  });
  find('.members').replaceChildren(...buttons);
  const budgets = data.budgets.map((name) => {
    const label = makeElement('label', '');
    const input = makeElement('input', '', { type: 'radio', name: 'budget', value: name });
    label.append(input, ` ${name}`);
    return label;
  });
  find('[data-list="budgets"]').replaceChildren(find('[data-list="budgets"] legend'), ...budgets);
}

function listRows() {
  const heads = ['member', 'budget', 'parameters', 'bits per sample', 'naive/s', 'cached/s', 'fastest/s'];
  const head = document.createElement('thead');
  const body = document.createElement('tbody');
  head.append(document.createElement('tr'));
  head.firstChild.append(...heads.map((text) => makeElement('th', text, { scope: 'col' })));
  for (const row of data.rows) {
    const line = document.createElement('tr');
    const values = [row.budget, row.facts.Parameters, row.bits.toFixed(3),
      ...['naive', 'cached', 'fastest'].map((kind) => formatSpeed(row.speeds[kind]))];
    line.append(makeElement('th', row.title, { scope: 'row' }), ...values.map((text) => makeElement('td', text)));
    body.append(line);
  }
  find('table').replaceChildren(head, body);
}

function showSelected() {
  for (const button of element.querySelectorAll('[data-member]')) {
    button.setAttribute('aria-pressed', String(button.dataset.member === selected.member));
  }
  for (const input of element.querySelectorAll('input[name="budget"]')) {
    input.checked = input.value === selected.budget;
    input.disabled = !findRow(selected.member, input.value);
  }
  find('h3').textContent = `${selected.title}, budget ${selected.budget}`;
  const speeds = Object.entries(selected.speeds).map(([kind, value]) => `${formatSpeed(value)} ${kind}`);
  const facts = { ...selected.facts, 'Samples per second': speeds.join(', ') };
  find('dl').replaceChildren(...Object.entries(facts).map(([name, text]) => {
    const pair = document.createElement('div');
    pair.append(makeElement('dt', name), makeElement('dd', text));
    return pair;
  }));
  find('[data-action="use"]').hidden = !selected.model;
  drawPlots();
}

const findRow = (member, budget) => data.rows.find((row) => row.member === member && row.budget === budget);

// The answer to each action has the clip, so an action replaces a request for the clip that waits.
function send(action) {
  clearTimeout(showTimer);
  trigger('click', { action, member: selected.member, budget: selected.budget });
}

// A member without the budget is shown with its largest one.
function select(member, budget = selected?.budget) {
  const own = data.rows.filter((row) => row.member === member);
  const row = findRow(member, budget) ?? own[own.length - 1];
  if (row === selected) return;
  selected = row;
  showSelected();
  find('.announcement').textContent = `${describeRow(row)} selected.`;
  // Of members selected quickly one after the other, only the last is requested: answers of the server
  // may arrive in another order.
  clearTimeout(showTimer);
  showTimer = setTimeout(() => send('show'), SHOW_PAUSE_MS);
}

// The page passes only a value that has changed, so opening the tab again keeps the selection.
function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') return;
  find('.comparison').dataset.state = message.error ? 'error' : 'ready';
  if (message.error) { data = null; find('.status').textContent = message.error; return; }
  data = { ...message, members: [...new Set(message.rows.map((row) => row.member))] };
  selected = null;
  listChoices();
  listRows();
  const first = data.members.includes(FIRST_MEMBER) ? FIRST_MEMBER : data.members[0];
  select(first, data.budgets[data.budgets.length - 1]);
  find('.announcement').textContent = '';
}

function nearestMark(event) {
  const box = find('.bits').getBoundingClientRect();
  const distance = ({ x, y }) => Math.hypot(x - (event.clientX - box.left), y - (event.clientY - box.top));
  const nearest = marks.reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
  return nearest && distance(nearest) <= POINTER_PX ? nearest : null;
}

element.addEventListener('click', (event) => {
  if (!data) return;
  const button = event.target.closest('button');
  const mark = event.target.closest('.bits') && nearestMark(event);
  if (button?.dataset.member) select(button.dataset.member);
  else if (button?.dataset.action) send(button.dataset.action);
  else if (mark) select(mark.row.member, mark.row.budget);
});
element.addEventListener('change', ({ target }) => {
  if (target.name === 'budget') select(selected.member, target.value);
  if (target.name === 'speed') { speedKind = target.value; drawPlots(); }
});
element.addEventListener('pointermove', (event) => {
  const mark = data && event.target.closest?.('.bits') && nearestMark(event);
  find('.pointed').textContent = mark ? describeRow(mark.row) : '';
});

watch('value', receive);
drawAtWidth(element, drawPlots);
receive();
