// Plays int16 chunks without gaps. `element`, `props` and `watch` come from gr.HTML; live_player.py
// builds the messages. There is one job at a time; a press of Generate creates its number here. A script
// that is joined before this one may define `routeSource`, which connects the source of a chunk, and
// `playerHooks`, whose functions are called when chunks arrive and jobs start or end.
const START_DELAY_SECONDS = 0.05; // between scheduling and playing the first chunk
const MIN_BUFFER_SECONDS = 0.2; // needed to start; FIRST_CHUNK_SECONDS in live_player.py
const SLOW_MARGIN = 1.1; // safety factor on the buffer if the model is slower than real time
const QUIET_MS = 2000; // time without a message before the page checks the server
const ANSWER_MS = 20000; // timeout of that check: a busy server responds late, a stopped one rejects at once
const NO_RESPONSE = 'The studio does not respond. Restart it.';

let context = null;
let rate = (props.value && props.value.rate) || 16000;
const { playerId, starters, results } = element.querySelector('.player').dataset; // of the template
let button = (props.value && props.value.button) || 'Generate'; // text of the button that starts a job
let job = null; // null: ignore messages, they belong to a stopped job
let starts = 0; // number of jobs so far
let state = newState();

function newState() {
  return { sequence: 0, generated: 0, total: 0, speed: 0, queue: [], sources: [], peaks: [],
    nextStart: 0, firstStart: null, gaps: 0, lost: 0, ended: false, isPlaying: false, isSilent: false, isGone: false,
    lastMessage: performance.now() };
}

const hooks = typeof playerHooks === 'undefined' ? {} : playerHooks;
const find = (selector) => element.querySelector(selector);

function showStatus(name, text) {
  find('.player').dataset.state = name;
  if (find('.status').textContent !== text) find('.status').textContent = text;
}

function openContext(sampleRate) {
  if (!context || context.sampleRate !== sampleRate) {
    if (context) context.close();
    context = new AudioContext({ sampleRate });
  }
  if (context.state !== 'running') context.resume();
}

function stopAudio() {
  for (const source of state.sources) { source.onended = null; source.stop(); }
  state.sources = [];
  state.queue = [];
}

const isComplete = () => state.ended || (state.generated > 0 && state.generated >= state.total);

const bufferedSeconds = () => state.queue.reduce((sum, b) => sum + b.duration, 0)
  + (state.isPlaying ? Math.max(0, state.nextStart - context.currentTime) : 0);

// If the model is slower than real time, the buffer must last until the rest is generated.
function canPlay() {
  if (isComplete()) return true;
  const remaining = (state.total - state.generated) / rate;
  return bufferedSeconds() >= MIN_BUFFER_SECONDS
    + remaining * Math.max(0, SLOW_MARGIN / Math.max(state.speed, 0.01) - 1);
}

function schedule() {
  if (state.isPlaying && state.nextStart < context.currentTime) { // the buffer is empty
    if (!isComplete() || state.queue.length) state.gaps += 1;
    state.isPlaying = false;
  }
  if (!state.isPlaying) {
    if (!state.queue.length || !canPlay()) return;
    state.isPlaying = true;
    state.nextStart = context.currentTime + START_DELAY_SECONDS;
    if (state.firstStart === null) state.firstStart = state.nextStart;
  }
  for (const buffer of state.queue.splice(0)) {
    const source = context.createBufferSource();
    source.buffer = buffer;
    if (typeof routeSource === 'undefined') source.connect(context.destination);
    else routeSource(source, context);
    source.onended = () => {
      state.sources = state.sources.filter((s) => s !== source);
      finishIfPlayed();
    };
    source.start(state.nextStart);
    state.nextStart += buffer.duration;
    state.sources.push(source);
  }
}

function enqueue(message) {
  const bytes = Uint8Array.from(atob(message.pcm), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const channels = message.channels || 1; // of interleaved samples
  const length = bytes.length / 2 / channels;
  const buffer = context.createBuffer(channels, length, message.rate);
  for (let channel = 0; channel < channels; channel += 1) {
    const row = buffer.getChannelData(channel);
    for (let i = 0; i < length; i += 1) row[i] = view.getInt16(2 * (i * channels + channel), true) / 32768;
  }
  const samples = buffer.getChannelData(0);
  if (!state.isSilent) state.queue.push(buffer);
  hooks.chunk?.(buffer, message);
  const step = Math.max(1, Math.ceil(message.total / 600));
  for (let i = 0; i < samples.length; i += step) {
    let peak = 0;
    for (let k = i; k < Math.min(i + step, samples.length); k += 1) {
      peak = Math.max(peak, Math.abs(samples[k]));
    }
    state.peaks.push([(state.generated + i) / message.total, peak]);
  }
  state.generated += samples.length;
  state.total = message.total;
  state.speed = message.speed;
}

function showWaiting({ waiting, seconds }) {
  state.lastMessage = performance.now();
  const people = waiting === 1 ? '1 job' : `${waiting} jobs`;
  showStatus('waiting', `Waiting: ${people} before you${seconds === null ? '' : `, about ${Math.max(1, Math.round(seconds))} s`}.`);
}

// The model was chosen; the status of a job stays.
function showStart(message) {
  rate = message.rate || rate;
  button = message.button || button;
  if (job === null && !starts) showStatus('idle', `Press ${button}. Audio plays while it is generated.`);
}

function receive() {
  const message = props.value;
  if (!message || typeof message !== 'object') return;
  if (message.job === undefined) { showStart(message); return; }
  if (job === null || message.job !== job || message.sequence < state.sequence || state.isGone) return;
  if (message.waiting) { showWaiting(message); return; }
  state.lastMessage = performance.now();
  if (message.error) { endJob('idle', message.error); return; }
  state.lost += message.sequence - state.sequence;
  state.sequence = message.sequence + 1;
  if (message.end) {
    state.ended = true;
    updateButton();
  } else {
    rate = message.rate;
    openContext(rate);
    enqueue(message);
  }
  schedule();
  describe();
  finishIfPlayed();
}

function describe() {
  if (state.isGone) return; // the message about the server stays
  if (state.isSilent && !isComplete()) {
    showStatus('waiting', 'Generating without sound, because another clip plays.');
  } else if (context && context.state !== 'running' && state.queue.length + state.sources.length) {
    showStatus('waiting', `The browser blocks audio. Press ${button} again to allow it.`);
  } else if (isComplete() && !state.sources.length && !state.queue.length) {
    showStatus('waiting', 'Generated. Drawing plots …');
  } else if (state.isPlaying) {
    showStatus('playing', 'Playing while generating.');
  } else if (state.queue.length && state.speed < SLOW_MARGIN) {
    showStatus('waiting', 'Slower than real time: playback starts when it can run without gaps.');
  }
}

// Ends the job when everything is generated and played.
function finishIfPlayed() {
  if (job !== null && state.ended && !state.queue.length && !state.sources.length) {
    if (state.isGone) { endJob('gone', NO_RESPONSE); return; }
    const note = state.lost ? ` ${state.lost} chunks did not reach this page; the file is complete.` : '';
    endJob('idle', `Finished: ${(state.generated / rate).toFixed(2)} s.${note}`);
  }
}

function endJob(name, text) {
  stopAudio();
  tellHeard(job, null);
  job = null;
  hooks.end?.();
  updateButton();
  showStatus(name, text);
  draw();
}

function draw() {
  const canvas = find('canvas');
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  const height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const canvasContext = canvas.getContext('2d');
  const style = getComputedStyle(canvas);
  const played = hooks.played?.() ?? (state.firstStart === null || !state.total ? 0
    : (state.generated / rate - bufferedSeconds()) / (state.total / rate));
  canvasContext.clearRect(0, 0, width, height);
  canvasContext.fillStyle = style.getPropertyValue('--baseline');
  canvasContext.fillRect(0, height / 2, width, 1);
  const bar = Math.max(1, width / 600);
  const loudest = Math.max(0.001, ...state.peaks.map(([, peak]) => peak)); // quiet audio stays visible
  for (const [x, peak] of state.peaks) {
    canvasContext.fillStyle = style.getPropertyValue(x <= played ? '--played' : '--generated');
    const tall = Math.max(1, (peak / loudest) * height);
    canvasContext.fillRect(x * width, (height - tall) / 2, bar, tall);
  }
  if (job === null && !state.generated) return;
  const set = (key, text) => { find(`[data-key="${key}"]`).textContent = text; };
  set('buffered', `${bufferedSeconds().toFixed(1)} s`);
  set('speed', state.speed ? `${state.speed.toFixed(1)} × real time` : '–');
  set('gaps', String(state.gaps));
  set('lost', String(state.lost));
}

// Disables Generate during a job; after the last chunk, or after Stop, the next job may start.
function updateButton() {
  const generate = document.querySelector(starters);
  if (generate) generate.disabled = job !== null && !state.ended;
}

const sleep = (time) => new Promise((done) => setTimeout(done, time));

async function serverResponds() {
  try {
    const address = new URL('gradio_api/app_id', document.baseURI);
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = await fetch(address, { cache: 'no-store', signal });
    // A restarted server has no data of this job.
    return answer.ok && (await answer.json()).app_id === window.gradio_config.app_id;
  } catch {
    return false;
  }
}

// Gradio does not report that the server has stopped: without this check the page would wait forever.
async function monitorServer(monitored) {
  const isActive = () => job === monitored && !state.ended;
  while (isActive()) {
    await sleep(500);
    if (!isActive() || performance.now() - state.lastMessage < QUIET_MS) continue;
    if (await serverResponds()) state.lastMessage = performance.now();
    else await loseServer(monitored);
  }
}

// Plays the buffered audio, then ends the job. Gradio reloads the page when the server runs again.
async function loseServer(lost) {
  await sleep(500); // the connection may be interrupted only for a moment
  if (job !== lost || state.ended || await serverResponds()) return;
  if (job !== lost || state.ended) return;
  state.isGone = true;
  state.ended = true;
  updateButton();
  showStatus('gone', NO_RESPONSE);
  finishIfPlayed();
}

// Without a server, Gradio may ignore a press; the status of the job before would look current.
async function reportIgnoredPress(event) {
  if (!event.target.closest?.(starters)) return;
  const before = starts;
  await sleep(1000);
  if (starts === before && job === null && !await serverResponds()) showStatus('gone', NO_RESPONSE);
}

// Tells the page which part of the job is heard now; null: nothing.
function tellHeard(number, seconds) {
  window.dispatchEvent(new CustomEvent('studio-heard', { detail: { job: number, seconds } }));
}

function animate() {
  if (job === null) return;
  if (context) { schedule(); describe(); }
  if (state.isPlaying) tellHeard(job, state.generated / rate - bufferedSeconds());
  draw();
  requestAnimationFrame(animate);
}

const player = {
  // Starts a job and returns its number.
  start() {
    stopAudio();
    starts += 1;
    job = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER); // unknown to other pages
    state = newState();
    updateButton();
    document.getElementById(results)?.classList.add('old'); // until the new pictures arrive
    hooks.start?.();
    window.dispatchEvent(new CustomEvent('studio-play', { detail: element })); // pauses other clips
    openContext(rate);
    showStatus('preparing', 'Preparing …');
    find('.player').scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    animate();
    monitorServer(job);
    return job;
  },
  // Stops the job and returns its number, or null.
  stop() {
    const stopped = job;
    hooks.stop?.();
    // without a length: the server keeps what it generated until the request arrives, a little more
    if (job !== null) endJob('idle', isComplete() ? `Finished: ${(state.generated / rate).toFixed(2)} s; playback stopped.`
      : state.generated ? 'Stopped. The clips have what was generated.' : 'Stopped.');
    return stopped;
  },
  // Ends the job after an error of the server that sent no message.
  async fail() {
    const failed = job;
    if (!await serverResponds()) await loseServer(failed);
    if (job === failed && job !== null && !state.ended) endJob('idle', 'Failed; see the error message.');
  },
};
element.closest(`#${playerId}`).player = player;
window.addEventListener('studio-play', (event) => {
  if (job === null || event.detail === element) return;
  state.isSilent = true;
  state.isPlaying = false;
  stopAudio();
  finishIfPlayed(); // the end may have arrived
});
document.addEventListener('click', reportIgnoredPress);
watch('value', receive);
new ResizeObserver(draw).observe(find('canvas'));
draw();
