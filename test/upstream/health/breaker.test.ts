import { describe, expect, it } from 'vitest';
import type { BreakerState } from '../../../src/events/events.ts';
import { Breaker } from '../../../src/upstream/health/breaker.ts';
import { unavailable } from '../../../src/upstream/upstream.ts';
import { eventually } from '../../support/wait.ts';

/** One that is half open: requests have failed, and the probe has not. */
async function halfOpen() {
  const states: BreakerState[] = [];
  const breaker = new Breaker({
    who: 'the server',
    probe: () => Promise.resolve(undefined),
    onChange: (state) => states.push(state),
    now: () => 0,
  });
  const ask = (send: () => Promise<string>, resource = 'any') =>
    breaker.run({ send, resource, hasTime: () => true });
  for (const resource of ['a', 'b', 'c']) {
    await ask(() => Promise.reject(unavailable('timeout', 'late')), resource).catch(() => undefined);
  }
  await eventually(() => states.at(-1) === 'half-open', 'the breaker to be half open');
  return { breaker, states, ask };
}

describe('a breaker that is half open', () => {
  it('closes when the one request is told that its credentials are wrong, and lets nobody wait in line', async () => {
    const { breaker, states, ask } = await halfOpen();
    let running = 0;
    let mostRunning = 0;
    const rejected = async (): Promise<string> => {
      running++;
      mostRunning = Math.max(mostRunning, running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      throw unavailable('credentials', 'wrong');
    };
    const asked = await Promise.allSettled(Array.from({ length: 10 }, () => ask(rejected)));
    expect(asked.every(({ status }) => status === 'rejected')).toBe(true);
    expect(mostRunning).toBe(9);
    expect(states).toEqual(['open', 'half-open', 'closed']);
    breaker.close();
  });

  it('lets one after the other try while those before give up, and all go when one has its answer', async () => {
    const { breaker, states, ask } = await halfOpen();
    let sent = 0;
    const gaveUp = new Error('the client has gone');
    const asked = Array.from({ length: 6 }, (_, index) =>
      ask(async () => {
        sent++;
        await new Promise((resolve) => setImmediate(resolve));
        if (index < 3) throw gaveUp;
        return 'answer';
      }),
    );
    const results = await Promise.allSettled(asked);
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
    ]);
    expect(sent).toBe(6);
    expect(states.at(-1)).toBe('closed');
    breaker.close();
  });
});
