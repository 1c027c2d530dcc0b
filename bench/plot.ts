import type { Results } from './results.ts';

const WIDTH = 640;
const HEIGHT = 320;
const LEFT = 56;
const BOTTOM = 264;
const TOP = 40;
const COLOURS = ['#8a8a8a', '#9ecae1', '#4292c6', '#084594'];

interface Bar {
  label: string;
  value: number;
  colour: string;
}

/** Certificates a second by orders in flight, the bare loop beside 1, 2 and 3 workers, as SVG. */
export function plotOf(results: Results): string {
  const levels = [...new Set([...results.bare, ...results.throughput].map((one) => one.inFlight))];
  const groups = levels
    .sort((a, b) => a - b)
    .map((level) => ({ level, bars: barsOf(results, level) }));
  const most = Math.max(1, ...groups.flatMap(({ bars }) => bars.map(({ value }) => value)));
  const step = niceStep(most / 4);
  const top = Math.ceil(most / step) * step;
  const y = (value: number) => BOTTOM - ((BOTTOM - TOP) * value) / top;
  const lines = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step).map(
    (value) =>
      `<line x1="${LEFT}" x2="${WIDTH - 12}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>` +
      text(LEFT - 6, y(value) + 4, String(value), 'end'),
  );
  const count = groups.reduce((sum, { bars }) => sum + bars.length + 1, 0);
  const width = (WIDTH - LEFT - 20) / Math.max(1, count);
  let x = LEFT + width / 2;
  const shapes = groups.flatMap(({ level, bars }) => {
    const from = x;
    const drawn = bars.map(({ value, colour, label }) => {
      const shape =
        `<rect x="${x.toFixed(1)}" y="${y(value).toFixed(1)}" width="${(width * 0.86).toFixed(1)}" ` +
        `height="${(BOTTOM - y(value)).toFixed(1)}" fill="${colour}"><title>${label}: ${value.toFixed(1)}</title></rect>` +
        text(x + width * 0.43, y(value) - 4, value.toFixed(0), 'middle');
      x += width;
      return shape;
    });
    const middle = (from + x) / 2;
    x += width;
    return [...drawn, text(middle, BOTTOM + 18, `${level} in flight`, 'middle')];
  });
  const legend = ['bare loop', '1 worker', '2 workers', '3 workers'].map((label, i) => {
    const at = LEFT + i * 130;
    const colour = COLOURS[i] ?? '';
    return `<rect x="${at}" y="${HEIGHT - 22}" width="12" height="12" fill="${colour}"/>${text(at + 18, HEIGHT - 12, label, 'start')}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(LEFT, 20, 'Certificates per second', 'start'),
    ...lines,
    ...shapes,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
}

function barsOf({ bare, throughput }: Results, level: number): Bar[] {
  return [
    ...bare.map((one) => ({ ...one, workers: 0 })),
    ...throughput.toSorted((a, b) => a.workers - b.workers),
  ]
    .filter(({ inFlight }) => inFlight === level)
    .map(({ workers, perSecond }) => ({
      label: workers === 0 ? 'bare loop' : `${workers} workers`,
      value: perSecond,
      colour: COLOURS[workers] ?? '#000',
    }));
}

/** 1, 2 or 5 times a power of ten, at least this much. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10) * power;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`;
}
