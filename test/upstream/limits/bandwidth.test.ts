import { describe, expect, it } from 'vitest';
import { parseBandwidth, limitAt } from '../../../src/config/bandwidth.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import { Bandwidth } from '../../../src/upstream/limits/bandwidth.ts';
import { tellNobody, tellTo } from '../../support/told.ts';

const PIECE = 64 * 1024;

/** Time that passes only while everybody sleeps. */
class SleepersClock implements Clock {
  ms = Date.UTC(2026, 0, 1);
  now = (): number => this.ms;

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.ms += ms;
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  }
}

const COMMON = { upstream: 'docker.io', tell: tellNobody };

describe('a bandwidth', () => {
  it('lets as many bytes pass as its limit says, whatever their pieces', async () => {
    const clock = new SleepersClock();
    const bandwidth = new Bandwidth({ ...COMMON, limitAt: () => 1_000_000, clock });
    const start = clock.ms;
    let bytes = 0;
    for (const size of Array.from({ length: 200 }, (_, i) => 1 + ((i * 7919) % PIECE))) {
      await bandwidth.take(size);
      bytes += size;
    }
    const seconds = (clock.ms - start) / 1000;
    expect(bytes / seconds).toBeGreaterThan(900_000);
    expect(bytes / seconds).toBeLessThan(1_100_000);
  });

  it('is shared alike by all transfers, however many pieces they want', async () => {
    const bandwidth = new Bandwidth({ ...COMMON, limitAt: () => 1_000_000, clock: new SleepersClock() });
    const passed = [0, 0, 0];
    let total = 0;
    const transfer = async (who: number): Promise<void> => {
      while (total < 90) {
        await bandwidth.take(PIECE);
        passed[who] = (passed[who] ?? 0) + 1;
        total++;
      }
    };
    await Promise.all([transfer(0), transfer(1), transfer(2)]);
    expect(Math.max(...passed) - Math.min(...passed)).toBeLessThanOrEqual(1);
  });

  it('holds nobody up without a limit, and lets go when one ends while somebody waits', async () => {
    const clock = new SleepersClock();
    const start = clock.ms;
    const free = new Bandwidth({ ...COMMON, limitAt: () => undefined, clock });
    for (let i = 0; i < 100; i++) await free.take(PIECE);
    expect(clock.ms).toBe(start);
    const untilSoon = new Bandwidth({
      ...COMMON,
      limitAt: (nowMs) => (nowMs - start < 5000 ? 1000 : undefined),
      clock,
    });
    for (let i = 0; i < 100; i++) await untilSoon.take(PIECE);
    expect(clock.ms - start).toBeLessThanOrEqual(6000);
  });

  it('makes others wait for what came in anyway, and tells how long', async () => {
    const clock = new SleepersClock();
    const waits: number[] = [];
    const bandwidth = new Bandwidth({
      ...COMMON,
      limitAt: () => 1000,
      clock,
      tell: tellTo({ throttled: ({ ms }) => void waits.push(ms) }),
    });
    bandwidth.spend(10_000);
    await bandwidth.take(1);
    expect(waits).toEqual([10_000]);
  });

  it('does not make the day pay for what came in a night without a limit', async () => {
    const clock = new SleepersClock();
    const morning = clock.ms + 60_000;
    const bandwidth = new Bandwidth({
      ...COMMON,
      limitAt: (nowMs) => (nowMs < morning ? undefined : 1000),
      clock,
    });
    for (let i = 0; i < 1000; i++) bandwidth.spend(PIECE);
    clock.ms = morning;
    await bandwidth.take(1);
    expect(clock.ms).toBe(morning);
  });

  it('does not keep who no longer waits, nor count what that one wanted', async () => {
    const clock = new SleepersClock();
    const bandwidth = new Bandwidth({ ...COMMON, limitAt: () => 1000, clock });
    bandwidth.spend(5000);
    const start = clock.ms;
    const gone = new AbortController();
    const leaver = bandwidth.take(1_000_000, gone.signal);
    const next = bandwidth.take(1);
    gone.abort();
    await leaver;
    await next;
    await bandwidth.take(1);
    expect(clock.ms - start).toBeLessThan(6000);
  });

  it('that is closed keeps nobody', async () => {
    const bandwidth = new Bandwidth({ ...COMMON, limitAt: () => 1 });
    await bandwidth.take(PIECE);
    const waiting = bandwidth.take(PIECE);
    bandwidth.close();
    await waiting;
    await bandwidth.take(PIECE);
  });
});

describe('a limit of the day', () => {
  const limits = ['08:00-18:00=50Mbit/s', '22:00-06:00=unlimited', '10MiB/s'].map(parseBandwidth);
  const at = (hours: number, minutes = 0): number => new Date(2026, 5, 1, hours, minutes).getTime();

  it.each([
    [at(8), 6_250_000],
    [at(17, 59), 6_250_000],
    [at(18), 10_485_760],
    [at(21, 59), 10_485_760],
    [at(22), undefined],
    [at(0), undefined],
    [at(5, 59), undefined],
    [at(6), 10_485_760],
  ])('at %i is %j bytes per second', (nowMs, limit) => {
    expect(limitAt(limits, nowMs)).toBe(limit);
  });

  it('is none where no rule fits', () => {
    expect(limitAt([parseBandwidth('08:00-24:00=1MB/s')], at(7))).toBeUndefined();
    expect(limitAt([parseBandwidth('08:00-24:00=1MB/s')], at(23, 59))).toBe(1_000_000);
  });
});
