// Plays and compares the listed clips; all other actions are events for the server. `element`,
// `watch` and `trigger` come from gr.HTML; history_panel.py builds the list.
const PLAYED_HERE = ['play', 'mark-a', 'mark-b', 'switch'];
const player = new Audio();
const LOWEST_VOLUME = 0.1; // −20 dB, of the louder of two clips that are compared
let marked = { a: null, b: null }; // ids of the clips to compare
let playing = null; // id
let isComparing = false;

const rows = () => [...element.querySelectorAll('[data-clip]')];
const row = (id) => rows().find((item) => item.dataset.clip === id);

function show() {
  for (const item of rows()) {
    const id = item.dataset.clip;
    const isPlaying = playing === id && !player.paused;
    item.classList.toggle('playing', isPlaying);
    item.querySelector('[data-action="play"]').textContent = isPlaying ? '❚❚' : '▶';
    for (const mark of ['a', 'b']) {
      item.querySelector(`[data-action="mark-${mark}"]`).setAttribute('aria-pressed', String(marked[mark] === id));
    }
  }
  const button = element.querySelector('[data-action="switch"]');
  if (!button) return;
  button.disabled = !(row(marked.a) && row(marked.b));
  const which = playing === marked.a ? 'A' : 'B';
  element.querySelector('.compare output').textContent = isComparing && !player.paused ? `playing ${which}${describeLevels()}` : '';
  button.textContent = isComparing && !player.paused ? `Switch to ${which === 'A' ? 'B' : 'A'}` : 'Compare A and B';
}

function play(id, from = 0, volume = 1) {
  const item = row(id);
  if (!item) return;
  window.dispatchEvent(new CustomEvent('studio-play', { detail: element })); // pauses the viewers
  playing = id;
  player.src = item.dataset.url;
  player.volume = volume;
  player.currentTime = 0;
  player.addEventListener('loadedmetadata', () => {
    player.currentTime = Math.min(from, Math.max(0, player.duration - 0.05));
    player.play();
  }, { once: true });
  player.load();
}

const levelOf = (id) => Number(row(id)?.dataset.rms) || 1e-6;

// The louder clip is played softer, so that both have the same RMS level, but stays audible.
function volumeOf(id) {
  const equal = Math.min(levelOf(marked.a), levelOf(marked.b)) / levelOf(id);
  return Math.max(equal, LOWEST_VOLUME);
}

function describeLevels() {
  const louder = Math.max(levelOf(marked.a), levelOf(marked.b));
  const isLimited = Math.min(levelOf(marked.a), levelOf(marked.b)) / louder < LOWEST_VOLUME;
  return isLimited ? ', not at equal level: they differ by more than 20 dB' : '';
}

function compare(id, from = 0) {
  isComparing = true;
  play(id, from, volumeOf(id));
}

function mark(name, other, id) {
  marked[name] = marked[name] === id ? null : id;
  if (marked[other] === id) marked[other] = null;
  isComparing = false;
}

const local = {
  play: (id) => {
    isComparing = false;
    if (playing === id && !player.paused) player.pause(); else play(id);
  },
  'mark-a': (id) => mark('a', 'b', id),
  'mark-b': (id) => mark('b', 'a', id),
  // The other clip goes on at the same time.
  switch: () => {
    const isOn = isComparing && !player.paused;
    compare(isOn && playing === marked.a ? marked.b : marked.a, isOn ? player.currentTime : 0);
  },
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (!button) return;
  const { action } = button.dataset;
  const id = button.closest('[data-clip]')?.dataset.clip ?? null;
  if (PLAYED_HERE.includes(action)) {
    local[action](id);
    show();
  } else {
    // read after the event has succeeded
    element.querySelector('.history').dataset.press = button.dataset.press ?? '';
    trigger('click', { action, id });
  }
});
// B follows A.
player.addEventListener('ended', () => {
  if (isComparing && playing === marked.a && row(marked.b)) compare(marked.b);
});
for (const name of ['play', 'pause', 'ended']) player.addEventListener(name, show);
window.addEventListener('studio-play', (event) => { if (event.detail !== element) player.pause(); });
watch('value', show);
show();
