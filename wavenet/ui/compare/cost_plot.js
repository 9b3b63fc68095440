// Seconds per sample after a past of n samples, naive and cached, as SVG with two logarithmic axes.
const COST_KINDS = ['naive', 'cached'];

function formatSeconds(seconds) {
  const [size, unit] = seconds >= 1 ? [1, 's'] : seconds >= 1e-3 ? [1e3, 'ms'] : [1e6, 'µs'];
  return `${(seconds * size).toLocaleString('en', { maximumSignificantDigits: 2 })} ${unit}`;
}

function drawCosts(svg, costs, width) {
  const [left, right, top, height] = [58, 16, 10, 200];
  const bottom = height - 42;
  const seconds = costs.flatMap((cost) => COST_KINDS.map((kind) => cost[kind])).filter(Boolean);
  const x = logAxis(costs.map((cost) => cost.past), left, width - right);
  const y = logAxis(seconds, bottom, top);
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(key, value);
  svg.replaceChildren(
    ...y.ticks.flatMap((value) => [makeSvg('path', { class: 'grid', d: `M${left} ${y.at(value)}H${width - right}` }),
      makeSvg('text', { class: 'end', x: left - 8, y: y.at(value) + 4 }, formatSeconds(value))]),
    ...x.ticks.map((value) => makeSvg('text', { class: 'middle', x: x.at(value), y: bottom + 17 },
      value.toLocaleString('en', { notation: 'compact' }))),
    makeSvg('text', { class: 'middle', x: (left + width - right) / 2, y: height - 6 }, 'samples in the past'),
  );
  for (const kind of COST_KINDS) {
    const points = costs.filter((cost) => cost[kind]).map((cost) => [x.at(cost.past), y.at(cost[kind])]);
    svg.append(makeSvg('path', { class: kind, d: points.map(([a, b], n) => `${n ? 'L' : 'M'}${a} ${b}`).join('') }),
      ...points.map(([cx, cy]) => makeSvg('circle', { class: kind, cx, cy, r: 3 })));
  }
  svg.setAttribute('aria-label', `Seconds per sample: ${costs.map((cost) => `${formatCount(cost.past)} samples in the past, `
    + COST_KINDS.filter((kind) => cost[kind]).map((kind) => `${kind} ${formatSeconds(cost[kind])}`).join(', ')).join('; ')}.`);
}
