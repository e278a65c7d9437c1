import { describe, expect, it } from 'vitest';
import { PullRhythm } from '../../../src/mirror/manifest/early-checks.ts';

const TTL = 60_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function rhythmOf(...visits: readonly number[]): PullRhythm {
  const rhythm = new PullRhythm(TTL);
  for (const visit of visits) rhythm.asked(visit);
  return rhythm;
}

describe('A tag that is asked for', () => {
  it('once or twice has no habit', () => {
    expect(rhythmOf(0).next()).toBeUndefined();
    expect(rhythmOf(0, HOUR).next()).toBeUndefined();
  });

  it('every hour is expected an hour later, from half a ttl before', () => {
    const next = rhythmOf(0, HOUR, 2 * HOUR).next();
    expect(next).toEqual({ from: 3 * HOUR - TTL / 2, until: 3 * HOUR + 1.5 * TTL });
  });

  it('every hour by a whole fleet at once is expected an hour later', () => {
    const bursts = [0, HOUR, 2 * HOUR].flatMap((at) => [0, 1, 5, 20, 40].map((second) => at + second * 1000));
    expect(rhythmOf(...bursts).next()?.from).toBe(3 * HOUR - TTL / 2);
  });

  it('all the time is expected within a ttl', () => {
    const visits = Array.from({ length: 100 }, (_, index) => index * 7000);
    const next = rhythmOf(...visits).next();
    expect(next?.from).toBeLessThan(99 * 7000 + TTL);
    expect(next?.until).toBeGreaterThan(99 * 7000);
  });

  it('at random has no habit', () => {
    expect(rhythmOf(0, HOUR, 3 * HOUR, 3.5 * HOUR).next()).toBeUndefined();
    expect(rhythmOf(0, HOUR, 2 * HOUR, 9 * HOUR).next()).toBeUndefined();
  });

  it('in a rhythm of which one visit fell out has its habit again two visits later', () => {
    const days = [0, 1, 2, 3, 6].map((day) => day * DAY);
    expect(rhythmOf(...days).next()).toBeUndefined();
    expect(rhythmOf(...days, 7 * DAY).next()).toBeUndefined();
    expect(rhythmOf(...days, 7 * DAY, 8 * DAY).next()?.from).toBe(9 * DAY - TTL / 2);
  });
});
