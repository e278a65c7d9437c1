import fc from 'fast-check';
import { Counter, Histogram, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { HistogramInRows, Tally } from '../../src/metrics/tally.ts';

const READ = { read: true } as const;
const kind = fc.constantFrom('manifest', 'blob', 'other');
const status = fc.constantFrom(200, 404);
const step = fc.oneof(
  { weight: 20, arbitrary: fc.record({ kind, status, value: fc.nat({ max: 1000 }) }) },
  { weight: 1, arbitrary: fc.constant(READ) },
);

it('the sums are those of a counter that takes each one by itself, however often they are read', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step), async (steps) => {
      const [ours, theirs] = [new Registry(), new Registry()];
      const options = { name: 'x_total', help: 'x' };
      const tally = new Tally({ ...options, registers: [ours] }, ['kind', 'status']);
      const labelNames = ['kind', 'status'] as const;
      const counter = new Counter({ ...options, labelNames, registers: [theirs] });
      for (const each of [...steps, READ]) {
        if ('read' in each) {
          expect(sorted(await ours.metrics())).toEqual(sorted(await theirs.metrics()));
        } else if (each.value > 0) {
          tally.add(each.value, each.kind, each.status);
          counter.inc({ kind: each.kind, status: each.status }, each.value);
        }
      }
    }),
  );
});

it('the buckets are those of a histogram that takes each value by itself', async () => {
  const [ours, theirs] = [new Registry(), new Registry()];
  const options = { name: 'x_seconds', help: 'x', buckets: [0.25, 0.5] };
  const rows = new HistogramInRows({ ...options, registers: [ours] }, 'kind');
  const histogram = new Histogram({ ...options, labelNames: ['kind'], registers: [theirs] });
  for (const count of [0, 1, 255, 256, 257, 1000]) {
    for (let at = 0; at < count; at++) {
      const label = at % 3 === 0 ? 'blob' : 'manifest';
      rows.observe(label, (at % 8) / 8);
      histogram.observe({ kind: label }, (at % 8) / 8);
    }
    expect(sorted(await ours.metrics())).toEqual(sorted(await theirs.metrics()));
  }
});

/** The order of the series is of no meaning. */
function sorted(text: string): string[] {
  return text.split('\n').toSorted();
}
