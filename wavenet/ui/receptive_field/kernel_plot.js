// Plots the kernels of the layers of a state-space model, one layer at a time. kernel_plot.py builds
// the value; age_plot.js is part of the same script. For another model the component is hidden.
const box = element.querySelector('.plot');
const layerChoice = element.querySelector('fieldset');
let data = null;
let view = null;
let layer = 0;

// A staircase over the bins.
function stairs(levels) {
  return levels.reduce((path, level, n) => {
    const [right, left] = binEnds(n).map((v) => v.toFixed(1));
    return `${path}${n ? 'L' : 'M'}${right} ${yLevel(level).toFixed(1)}H${left}`;
  }, '');
}

function listLayers() {
  layerChoice.hidden = data.layers.length < 2;
  const labels = data.layers.map((_, n) => {
    const label = document.createElement('label');
    const input = document.createElement('input');
    Object.assign(input, { type: 'radio', name: 'kernel-layer', value: n, checked: n === layer });
    label.append(input, ` ${n + 1}`);
    return label;
  });
  layerChoice.replaceChildren(layerChoice.querySelector('legend'), ...labels);
}

const roundSamples = (samples) => (samples < 100 ? Number(samples.toPrecision(2)) : Math.round(samples));

function build() {
  if (!data || !data.edges || !box.clientWidth) return;
  const width = Math.max(280, innerWidth(box));
  view = { width, inner: width - LEFT - RIGHT };
  const { mean, largest, constants } = data.layers[layer];
  const svg = makeSvg('svg', { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, tabindex: 0,
    role: 'slider', 'aria-label': `Sample before the prediction, in the kernel of layer ${layer + 1}. Arrow keys `
    + 'move, Home selects the newest, End the oldest, Enter pins the selection.', 'aria-valuemin': 1, 'aria-valuemax': data.field });
  const names = ['shortest', 'median', 'longest'];
  const marks = constants.map((age, n) => [names[n], age, 'mark']).filter(([, age]) => age >= NEWEST && age <= data.field);
  svg.append(...drawLevels(), ...drawAges(),
    makeSvg('path', { class: 'curve', d: `${stairs(mean)}V${BOTTOM}H${binEnds(0)[0]}Z` }),
    ...data.layers.filter((_, n) => n !== layer).map((other) => makeSvg('path', { class: 'other', d: stairs(other.mean) })),
    makeSvg('path', { class: 'largest', d: stairs(largest) }),
    ...drawMarks(marks),
    makeSvg('path', { class: 'cursor' }), makeSvg('circle', { class: 'dot', r: 4 }));
  const facts = listSamples(constants.map((age, n) => [`${names[n][0].toUpperCase()}${names[n].slice(1)} time constant`, roundSamples(age)]));
  const legend = document.createElement('p');
  legend.className = 'legend';
  legend.innerHTML = `<span><i class="key mean"></i>mean of ${data.channels} channels</span>`
    + '<span><i class="key"></i>largest channel</span>'
    + (data.layers.length > 1 ? '<span><i class="key layers"></i>means of the other layers</span>' : '');
  const caption = document.createElement('p');
  caption.className = 'caption';
  const note = document.createElement('p');
  note.className = 'note';
  note.textContent = `${data.name}, layer ${layer + 1} of ${data.layers.length}: |K| in dB relative to the largest of a layer. `
    + 'After a time constant, a state has decayed to 37 %. The time axis is logarithmic.';
  const hadFocus = box.contains(document.activeElement);
  box.replaceChildren(facts, legend, svg, caption, note);
  if (hadFocus) svg.focus();
  select(current);
}

function show() {
  const last = data.edges[current + 1] - 1;
  const { mean, largest } = data.layers[layer];
  showSelection(mean[current], `${nameBin(current)} (${formatMilliseconds(last, data.rate)} before the prediction): mean `
    + `${formatLevel(mean[current])}, largest channel ${formatLevel(largest[current])}${pinned ? '; pinned.' : '.'}`);
}

function receive() {
  data = props.value;
  const isShown = Boolean(data && (data.edges || data.error));
  element.querySelector('.kernels').hidden = !isShown;
  view = null;
  if (!isShown) return;
  if (data.error) { layerChoice.hidden = true; showText(data.error, true); return; }
  layer = 0;
  current = 0;
  pinned = false;
  listLayers();
  build();
}

layerChoice.addEventListener('change', ({ target }) => {
  layer = Number(target.value);
  build();
});

watch('value', receive);
receive();
drawAtWidth(box, build);
