import { describe, expect, it } from 'vitest';
import { deferred, type Deferred } from '../../src/lib/promises.ts';
import { SingleFlight } from '../../src/lib/single-flight.ts';

const LATE = new Error('its time was over');

/** A flight whose runs end as the test has it. */
function setUp() {
  const runs: Deferred<string>[] = [];
  const flight = new SingleFlight<string>((error) => error === LATE);
  const ask = () =>
    flight.run('key', () => {
      const run = deferred<string>();
      runs.push(run);
      return run.promise;
    });
  return { runs, ask, asMany: (count: number) => Array.from({ length: count }, () => ask().promise) };
}

const outcomes = (asked: readonly Promise<string>[]) =>
  Promise.all(asked.map((each) => each.catch((error: unknown) => error)));

describe('a question that many ask at once', () => {
  it('is asked once for all, and once more for who comes later', async () => {
    const { runs, ask, asMany } = setUp();
    expect(ask()).toMatchObject({ joined: false });
    const others = asMany(5);
    expect(ask()).toMatchObject({ joined: true });
    runs[0]?.resolve('a');
    expect(await outcomes(others)).toEqual(Array.from({ length: 5 }, () => 'a'));
    expect(ask()).toMatchObject({ joined: false });
    expect(runs).toHaveLength(2);
  });

  it('fails for all of them if it is answered by a failure', async () => {
    const { runs, asMany } = setUp();
    const asked = asMany(3);
    const failure = new Error('no');
    runs[0]?.reject(failure);
    expect(await outcomes(asked)).toEqual([failure, failure, failure]);
    expect(runs).toHaveLength(1);
  });

  it('is asked once more, for all who joined one that took too long', async () => {
    const { runs, ask, asMany } = setUp();
    const first = ask().promise;
    const joined = asMany(100);
    runs[0]?.reject(LATE);
    expect(await outcomes([first])).toEqual([LATE]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(runs).toHaveLength(2);
    const later = ask();
    expect(later.joined).toBe(true);
    runs[1]?.resolve('b');
    expect(await outcomes([...joined, later.promise])).toEqual(Array.from({ length: 101 }, () => 'b'));
  });

  it('is not asked a third time for those who have asked again', async () => {
    const { runs, asMany } = setUp();
    const asked = asMany(10);
    runs[0]?.reject(LATE);
    await new Promise((resolve) => setImmediate(resolve));
    runs[1]?.reject(LATE);
    expect(await outcomes(asked)).toEqual(Array.from({ length: 10 }, () => LATE));
    expect(runs).toHaveLength(2);
  });
});
