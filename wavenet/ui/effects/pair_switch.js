// Switches between the wet and the dry sound of an effect while it plays, without a gap: both are in the
// same buffers, so one source plays both, and two gains select. Part of the script of the live player,
// whose functions and variables it uses; render_job.py orders the channels: first wet, then dry.
const SWITCH_SECONDS = 0.01; // of the fade from one sound to the other: no click
const MATCH_SECONDS = 0.1; // of a change of the gains while the loudness becomes known
const SWITCH_KEY = 'x';

let heard = 'wet';
let matching = { wet: 1, dry: 1 }; // gains for equal loudness
let buffers = []; // of the last job
let repeated = null; // {source, startedAt} while the last sound repeats
let gains = null; // {context, channels, input, wet, dry}

function makeGains(audioContext, channels) {
  const input = audioContext.createChannelSplitter(channels);
  const made = { context: audioContext, channels, input };
  const each = channels / 2;
  ['wet', 'dry'].forEach((name, n) => {
    const merger = audioContext.createChannelMerger(each);
    for (let channel = 0; channel < each; channel += 1) input.connect(merger, n * each + channel, channel);
    made[name] = audioContext.createGain();
    made[name].gain.value = heard === name ? matching[name] : 0;
    merger.connect(made[name]);
    made[name].connect(audioContext.destination);
  });
  return made;
}

function setGains(seconds) {
  if (!gains) return;
  for (const name of ['wet', 'dry']) {
    const value = heard === name ? matching[name] : 0;
    gains[name].gain.setTargetAtTime(value, gains.context.currentTime, seconds / 3);
  }
}

function routeSource(source, audioContext) {
  const channels = source.buffer.numberOfChannels;
  if (!gains || gains.context !== audioContext || gains.channels !== channels) gains = makeGains(audioContext, channels);
  source.connect(gains.input);
}

function showSwitch() {
  for (const button of element.querySelectorAll('[data-sound]')) {
    button.setAttribute('aria-pressed', String(button.dataset.sound === heard));
  }
  const repeat = element.querySelector('[data-repeat]');
  repeat.disabled = !buffers.length;
  repeat.textContent = repeated ? 'Stop repeating' : 'Play again, repeating';
  element.querySelector('.player').dataset.heard = heard;
}

function hear(name) {
  heard = name;
  setGains(SWITCH_SECONDS);
  showSwitch();
}

// Joins the chunks of the last job.
function joinBuffers() {
  const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  const channels = buffers[0].numberOfChannels;
  const joined = context.createBuffer(channels, total, buffers[0].sampleRate);
  let start = 0;
  for (const buffer of buffers) {
    for (let n = 0; n < channels; n += 1) joined.copyToChannel(buffer.getChannelData(n), n, start);
    start += buffer.length;
  }
  return joined;
}

function stopRepeating() {
  if (!repeated) return;
  repeated.source.stop();
  repeated = null;
  showSwitch();
  showStatus('idle', 'Stopped.');
}

function repeat() {
  if (repeated) { stopRepeating(); return; }
  if (!buffers.length || job !== null) return;
  window.dispatchEvent(new CustomEvent('studio-play', { detail: element })); // pauses other clips
  openContext(buffers[0].sampleRate);
  const source = context.createBufferSource();
  source.buffer = joinBuffers();
  source.loop = true;
  routeSource(source, context);
  source.start();
  repeated = { source, startedAt: context.currentTime };
  showStatus('playing', 'Repeating; press X to switch between dry and wet.');
  showSwitch();
  const animateRepeat = () => { if (repeated) { draw(); requestAnimationFrame(animateRepeat); } };
  animateRepeat();
}

const playerHooks = {
  start() { stopRepeating(); buffers = []; showSwitch(); },
  chunk(buffer, message) {
    buffers.push(buffer);
    if (message.gains) { matching = message.gains; setGains(MATCH_SECONDS); }
  },
  stop: stopRepeating,
  end: showSwitch,
  played() {
    if (!repeated) return null;
    const { source, startedAt } = repeated;
    return ((context.currentTime - startedAt) % source.buffer.duration) / source.buffer.duration;
  },
};

element.addEventListener('click', ({ target }) => {
  if (target.closest('[data-repeat]')) repeat();
  else if (target.closest('[data-sound]')) hear(target.closest('[data-sound]').dataset.sound);
});
document.addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() !== SWITCH_KEY || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!element.offsetParent || event.target.closest('input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, [contenteditable]')) return;
  hear(heard === 'wet' ? 'dry' : 'wet');
});
window.addEventListener('studio-play', (event) => { if (event.detail !== element) stopRepeating(); });
