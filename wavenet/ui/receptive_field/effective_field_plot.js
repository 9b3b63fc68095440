// Plots the influence of past samples on a prediction over the theoretical receptive field.
// influence_measurement.py builds the value; age_plot.js is part of the same script. If the receptive
// field is unlimited, the samples up to a horizon are plotted.
const box = element.querySelector('.plot');
let data = null;
let view = null;

const limitName = () => (data.limited ? 'receptive field' : 'horizon');
const yShare = (share) => BOTTOM - (BOTTOM - TOP) * share;

function drawAxes() {
  const parts = [makeSvg('rect', { class: 'theory', x: x(data.field + 0.5), y: TOP,
    width: x(NEWEST) - x(data.field + 0.5), height: BOTTOM - TOP }), ...drawLevels()];
  for (let level = 0; level >= data.floor; level -= 20) {
    parts.push(makeSvg('text', { class: 'share', x: LEFT + view.inner + 8, y: yLevel(level) + 4 },
      `${Math.round(100 * (1 - level / data.floor))} %`));
  }
  return [...parts, ...drawAges()];
}

const marks = () => [...data.lag_by_fraction.slice(1).map(([share, lag]) => [`${Math.round(share * 100)} %`, lag, 'mark']),
  [view.inner > 400 || !data.limited ? limitName() : 'field', data.field, 'field-end']];

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
    makeSvg('path', { class: 'shares', d: shares }), ...drawMarks(marks()), makeSvg('path', { class: 'cursor' }),
    makeSvg('circle', { class: 'dot', r: 4 }));
  const facts = [[data.limited ? 'Receptive field' : 'Horizon', data.field],
    ...data.lag_by_fraction.map(([share, lag]) => [`${Math.round(share * 100)} % of influence`, lag])];
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
  box.replaceChildren(listSamples(facts), legend, svg, caption, note);
  if (hadFocus) svg.focus();
  show();
}

function show() {
  const last = data.edges[current + 1] - 1;
  const level = data.level[current];
  showSelection(level, `${nameBin(current)} (${formatMilliseconds(last, data.rate)} before the prediction): ${formatLevel(level)}. `
    + `The newest ${formatCount(last)} have ${(100 * data.cumulative[current]).toFixed(1)} % of all influence${pinned ? '; pinned.' : '.'}`);
}

watch('value', build);
drawAtWidth(box, build);
