// Lists improbable places; a press of one plays it in the viewer that shows the recording. `element`, `props` and
// `watch` come from gr.HTML; place_events.py builds the message.
const LEAD_SECONDS = 0.3; // that are played before a place

const find = (selector) => element.querySelector(selector);
const formatTime = (seconds) => `${seconds.toFixed(3)} s`;

function makeCell(content) {
  const cell = document.createElement('td');
  cell.append(content);
  return cell;
}

function makeRow({ start, end, bits, ratio }) {
  const button = document.createElement('button');
  [button.type, button.textContent] = ['button', `${formatTime(start)} to ${formatTime(end)}`];
  [button.dataset.start, button.dataset.end] = [start, end];
  button.title = 'Play from 0.3 s before';
  const row = document.createElement('tr');
  row.append(makeCell(button), makeCell(bits), makeCell(ratio));
  return row;
}

function describe({ count, places, model }) {
  if (!count) return `No place is improbable for ${model}.`;
  const found = count === 1 ? '1 improbable place' : `${count} improbable places`;
  const rest = count > places.length ? `, of which the first ${places.length} are listed` : '';
  return `${found} for ${model}${rest}. Press one to play it.`;
}

function receive() {
  const message = props.value;
  find('.places').hidden = !message?.places;
  if (!message?.places) return;
  find('.note').textContent = describe(message);
  find('.scroll').hidden = !message.count;
  find('tbody').replaceChildren(...message.places.map(makeRow));
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-start]');
  if (!button) return;
  for (const row of element.querySelectorAll('tr')) row.toggleAttribute('data-chosen', row.contains(button));
  const [start, end] = [Number(button.dataset.start), Number(button.dataset.end)];
  const detail = { url: props.value.url, start, end, lead: LEAD_SECONDS };
  window.dispatchEvent(new CustomEvent('studio-place', { detail }));
});
watch('value', receive);
receive();
