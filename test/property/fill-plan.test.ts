import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Extents } from '../../src/lib/extents.ts';
import { limitOf, nextHole, nextStep, type Demand, type Stream } from '../../src/pull/fill-plan.ts';

const SIZE = 200;
const LIMITS = { maxStreams: 4, minGapBytes: 10 };

/** A stream that receives when it is told to, and has written all that it has received. */
interface TestStream extends Stream {
  position: number;
}

/** A fill without a network: streams advance by chance, readers come by chance. */
class Model {
  readonly written = new Extents();
  readonly streams = new Set<TestStream>();
  demands: Demand[] = [];
  received = 0;
  opened = 0;

  get state() {
    return { size: SIZE, written: this.written, streams: this.streams, demands: this.demands };
  }

  open(at: number): void {
    this.opened++;
    this.streams.add({ start: at, position: at, bytesPerSecond: 0 });
    expect(this.streams.size).toBeLessThanOrEqual(LIMITS.maxStreams);
  }

  read(position: number): void {
    if (this.written.coveredTo(position) > position) return;
    this.demands = [...this.demands, { position, end: SIZE }];
    const step = nextStep(position, this.state, LIMITS);
    if (step.kind === 'move') this.streams.delete(step.stream);
    if (step.kind === 'open' || step.kind === 'move') this.open(step.at);
  }

  advance(index: number, bytes: number): void {
    const stream = [...this.streams][index % Math.max(1, this.streams.size)];
    if (stream === undefined) return;
    const end = Math.min(limitOf(stream, this.state), stream.position + bytes);
    this.received += end - stream.position;
    this.written.add({ start: stream.position, end });
    stream.position = end;
    if (end < limitOf(stream, this.state)) return;
    this.streams.delete(stream);
    const hole = nextHole(this.state);
    if (hole !== undefined) this.open(hole);
  }
}

type Action = { readonly read: number } | { readonly stream: number; readonly bytes: number };
const actions = fc.array(
  fc.oneof(
    fc.record({ read: fc.integer({ min: 0, max: SIZE - 1 }) }),
    fc.record({ stream: fc.nat(3), bytes: fc.integer({ min: 1, max: 60 }) }),
  ) as fc.Arbitrary<Action>,
  { maxLength: 60 },
);

describe('the segments of a fill', () => {
  it('fetch every byte exactly once, wherever readers begin, and end', () => {
    fc.assert(
      fc.property(actions, (script) => {
        const model = new Model();
        model.open(0);
        for (const action of script) {
          if ('read' in action) model.read(action.read);
          else model.advance(action.stream, action.bytes);
        }
        for (let turn = 0; model.streams.size > 0; turn++) {
          expect(turn).toBeLessThan(10 * SIZE);
          model.advance(turn, 7);
        }
        expect(model.written.list).toEqual([{ start: 0, end: SIZE }]);
        expect(model.received).toBe(SIZE);
      }),
    );
  });

  it('are opened for readers far ahead only, and never where bytes are there or coming', () => {
    fc.assert(
      fc.property(actions, fc.integer({ min: 0, max: SIZE - 1 }), (script, position) => {
        const model = new Model();
        model.open(0);
        for (const action of script) {
          if ('read' in action) model.read(action.read);
          else model.advance(action.stream, action.bytes);
        }
        const step = nextStep(position, model.state, LIMITS);
        if (step.kind !== 'open' && step.kind !== 'move') return;
        expect(model.written.coveredTo(step.at)).toBe(step.at);
        expect(step.at).toBeLessThanOrEqual(position);
        for (const { position: at } of model.streams) {
          if (at <= position)
            expect(position - at >= LIMITS.minGapBytes || model.written.nextStart(at) !== undefined).toBe(
              true,
            );
        }
      }),
    );
  });
});
