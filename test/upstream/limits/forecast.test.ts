import { describe, expect, it } from 'vitest';
import { EventLog } from '../../../src/log/event-log.ts';
import type { Logger } from '../../../src/log/log.ts';
import type { PullLimitState } from '../../../src/oci/pull-limit.ts';
import { Forecast } from '../../../src/upstream/limits/forecast.ts';

const MINUTE_MS = 60_000;
const WINDOW_MS = 6 * 60 * MINUTE_MS;

/** A forecast after these readings: minutes after the first one, and the pulls that were left. */
function after(readings: readonly (readonly [minute: number, remaining: number])[]): number | undefined {
  const forecast = new Forecast();
  for (const [minute, remaining] of readings) forecast.add(minute * MINUTE_MS, remaining);
  return forecast.emptyAt(WINDOW_MS);
}

describe('the forecast of a pull limit', () => {
  it('says nothing after two images that were pulled one after the other', () => {
    expect(
      after([
        [0, 100],
        [0.1, 98],
        [1, 96],
      ]),
    ).toBeUndefined();
    expect(
      after([
        [0, 100],
        [29, 91],
      ]),
    ).toBeUndefined();
  });

  it('says when it will be used up after half an hour, however few pulls that were', () => {
    expect(
      after([
        [0, 20],
        [30, 17],
      ]),
    ).toBe((30 + 170) * MINUTE_MS);
  });

  it('says when it will be used up after ten pulls, however soon they came', () => {
    expect(
      after([
        [0, 100],
        [1, 91],
      ]),
    ).toBeUndefined();
    // Ten in a minute are taken for ten in five.
    expect(
      after([
        [0, 100],
        [1, 90],
      ]),
    ).toBe((1 + 45) * MINUTE_MS);
  });

  it('begins anew when pulls come back', () => {
    expect(
      after([
        [0, 20],
        [30, 10],
        [40, 100],
        [41, 95],
      ]),
    ).toBeUndefined();
  });

  it('says nothing of a limit that lasts until its window ends', () => {
    expect(
      after([
        [0, 1000],
        [30, 990],
      ]),
    ).toBeUndefined();
  });
});

describe('the log of a pull limit', () => {
  /** The messages after forecasts: minutes after the first one, and whether one stood. */
  function told(forecasts: readonly (readonly [minute: number, stands: boolean])[]): string[] {
    const messages: string[] = [];
    const note = (_: object, message: string): void => void messages.push(message);
    const watch = new EventLog({ info: note, warn: note, debug: note } as unknown as Logger);
    for (const [minute, stands] of forecasts) {
      const readAt = 1_700_000_000_000 + minute * MINUTE_MS;
      const state: PullLimitState = {
        identity: 'anonymous',
        readAt,
        isLow: false,
        // It moves by an hour each time.
        ...(stands ? { emptyAt: readAt + minute * 60 * MINUTE_MS } : {}),
      };
      watch.pullLimit({ upstream: 'docker.io', state, foreignPulls: 0 });
    }
    return messages;
  }

  it('has one line of a forecast, however it moves, goes and comes again', () => {
    expect(
      told([
        [0, true],
        [1, true],
        [2, false],
        [3, true],
        [33, true],
      ]),
    ).toEqual(['pull limit used up soon']);
  });

  it('has another line once there was none for half an hour', () => {
    expect(
      told([
        [0, true],
        [20, false],
        [31, true],
      ]),
    ).toHaveLength(2);
  });
});
