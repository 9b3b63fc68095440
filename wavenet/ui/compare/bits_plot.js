// Bits per sample against speed, one mark per member and budget, as SVG. `data`, `selected` and
// `speedKind` are those of comparison_view.js.
const PLOT = { left: 46, right: 16, top: 12, height: 330, bottom: 330 - 46 };
const LABEL_SPACE = 44; // px between labels of a logarithmic axis, at least

// Returns a function from a value to a position on a logarithmic axis, and the ticks that fit.
function logAxis(values, from, to) {
  const [low, high] = [Math.min(...values) / 1.5, Math.max(...values) * 1.5].map(Math.log10);
  const at = (value) => from + (to - from) * (Math.log10(value) - low) / (high - low);
  const space = Math.abs(to - from) / (high - low); // px of a factor of ten
  const digits = space > 4 * LABEL_SPACE ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(LABEL_SPACE / space)); // powers of ten between labels
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    if (power % every) continue;
    for (const digit of digits) {
      const value = digit * 10 ** power;
      if (Math.log10(value) >= low && Math.log10(value) <= high) ticks.push(value);
    }
  }
  return { at, ticks };
}

// Returns a function from a value to a position on a linear axis, and about five ticks.
function linearAxis(low, high, from, to) {
  const margin = 0.06 * (high - low || 1);
  const [first, last] = [low - margin, high + margin];
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((n) => (last - first) / n <= 6) ?? 10;
  const ticks = [];
  for (let n = Math.ceil(first / step); n * step <= last; n += 1) ticks.push(Number((n * step).toFixed(2)));
  return { at: (value) => from + (to - from) * (value - first) / (last - first), ticks };
}

// The rows that have this speed, with the positions of their marks.
function placeMarks(x, y) {
  return data.rows.filter((row) => row.speeds[speedKind]).map((row) => ({ row,
    n: data.members.indexOf(row.member), x: x.at(row.speeds[speedKind]), y: y.at(row.bits),
    r: 4.5 + 1.8 * data.budgets.indexOf(row.budget) }));
}

function drawAxes(x, y, width) {
  const { left, right, top, bottom, height } = PLOT;
  const parts = y.ticks.flatMap((value) => [
    makeSvg('path', { class: 'grid', d: `M${left} ${y.at(value)}H${width - right}` }),
    makeSvg('text', { class: 'end', x: left - 8, y: y.at(value) + 4 }, value.toFixed(y.ticks.every(Number.isInteger) ? 0 : 1))]);
  parts.push(...x.ticks.flatMap((value) => [
    makeSvg('path', { class: 'grid', d: `M${x.at(value)} ${top}V${bottom}` }),
    makeSvg('text', { class: 'middle', x: x.at(value), y: bottom + 17 }, value.toLocaleString('en', { notation: 'compact' }))]));
  parts.push(makeSvg('text', { class: 'middle', x: (left + width - right) / 2, y: height - 6 },
    `samples per second, ${speedKind}${width > 420 ? ', one clip on one thread' : ''}`));
  const realTime = data.rate && x.at(data.rate);
  if (realTime > left && realTime < width - right) {
    parts.push(makeSvg('path', { class: 'real-time', d: `M${realTime} ${top}V${bottom}` }),
      makeSvg('text', { class: 'end', x: realTime - 5, y: bottom - 6 }, 'real time'));
  }
  return parts;
}

// Draws the plot; returns the marks, for the pointer.
function drawBits(svg, width) {
  const { left, right, top, bottom, height } = PLOT;
  const speeds = data.rows.map((row) => row.speeds[speedKind]).filter(Boolean);
  const bits = data.rows.flatMap((row) => [row.bits, ...(row.interval ?? [])]);
  const x = logAxis(speeds, left, width - right);
  const y = linearAxis(Math.min(...bits), Math.max(...bits), bottom, top);
  const marks = placeMarks(x, y);
  const ofMember = (name) => marks.filter(({ row }) => row.member === name)
    .sort((a, b) => data.budgets.indexOf(a.row.budget) - data.budgets.indexOf(b.row.budget));
  const kind = (name) => (name === selected.member ? '' : ' other');
  svg.replaceChildren(...drawAxes(x, y, width));
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(key, value);
  // The selected member is drawn last, above the others.
  const order = [...data.members].sort((a, b) => (a === selected.member) - (b === selected.member));
  for (const name of order) {
    const own = ofMember(name);
    const stroke = memberColour(data.members.indexOf(name));
    svg.append(makeSvg('path', { class: `line${kind(name)}`, stroke,
      d: own.map((mark, n) => `${n ? 'L' : 'M'}${mark.x} ${mark.y}`).join('') }));
    for (const mark of own) {
      const { interval } = mark.row;
      if (name === selected.member && interval) {
        svg.append(makeSvg('path', { class: 'interval', stroke, d: `M${mark.x} ${y.at(interval[0])}V${y.at(interval[1])}` }));
      }
      svg.append(makeSvg('path', { class: `mark${kind(name)}`, style: `fill: ${stroke}`, d: markPath(mark.n, mark.x, mark.y, mark.r) }));
      if (mark.row === selected) svg.append(makeSvg('path', { class: 'ring', d: markPath(0, mark.x, mark.y, mark.r + 5) }));
    }
  }
  svg.setAttribute('aria-label', `Bits per sample against speed of ${data.members.length} members. The buttons below `
    + 'select a member; the table at the end has all values.');
  return marks;
}
