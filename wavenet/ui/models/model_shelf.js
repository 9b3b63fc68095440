// Plays the samples of the cards; all other actions are events for the server. `element`, `watch` and
// `trigger` come from gr.HTML; model_shelf.py builds the cards.
const player = new Audio();
const openParts = new Set(); // of the cards, as they are drawn again after each action
let playing = null; // name of a model
let awaited = null; // name of a model whose sample is being generated

const rows = () => [...element.querySelectorAll('[data-model]')];
const row = (name) => rows().find((item) => item.dataset.model === name);

function show() {
  for (const item of rows()) {
    const button = item.querySelector('[data-action="sample"]');
    if (!button) continue;
    const isPlaying = item.dataset.model === playing && !player.paused;
    button.textContent = isPlaying ? '❚❚ Sample' : '▶ Sample';
    button.disabled = item.dataset.model === awaited;
  }
}

function play(name) {
  playing = name;
  player.src = row(name).dataset.sample;
  // The server may have deleted an old sample.
  player.play().catch((error) => { if (error.name === 'NotSupportedError') request(name); });
}

function request(name) {
  awaited = name;
  send('sample', name);
  show();
}

function send(action, name, text = '') {
  element.querySelector('.shelf').dataset.action = action; // read after the event has succeeded
  trigger('click', { action, name, text });
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  const name = button?.closest('[data-model]')?.dataset.model;
  if (!name) return;
  const { action } = button.dataset;
  if (action !== 'sample') {
    send(action, name, button.parentElement.querySelector('input')?.value ?? '');
  } else if (playing === name && !player.paused) {
    player.pause();
  } else if (row(name).dataset.sample) {
    play(name);
  } else {
    request(name);
  }
});
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.target.tagName !== 'INPUT') return;
  event.target.parentElement.querySelector('button').click();
});
element.addEventListener('toggle', (event) => {
  const part = `${event.target.closest('[data-model]')?.dataset.model} ${event.target.dataset.part}`;
  if (event.target.open) openParts.add(part); else openParts.delete(part);
}, true);
watch('value', () => {
  for (const item of rows()) {
    for (const details of item.querySelectorAll('details')) {
      details.open = openParts.has(`${item.dataset.model} ${details.dataset.part}`);
    }
  }
  const ready = awaited;
  awaited = null;
  if (ready && row(ready)?.dataset.sample) play(ready);
  show();
});
for (const name of ['play', 'pause', 'ended']) player.addEventListener(name, show);
show();
